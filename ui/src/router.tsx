import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
  stripSearchParams,
} from "@tanstack/react-router";
import { queries, queryClient, whenSignedOut } from "./api/queries";
import { ErrorPage, NotFoundPage } from "./pages/ErrorPage";
import { LoginPage } from "./pages/LoginPage";
import { Shell } from "./pages/Shell";
import { TeamPage } from "./pages/TeamPage";
import { TeamsPage } from "./pages/TeamsPage";
import { DEFAULT_SEARCH, readSearch } from "./search";

const root = createRootRoute({ notFoundComponent: NotFoundPage });

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  validateSearch: (search: Record<string, unknown>): { to?: string } =>
    // Only paths of this page, so that a link can't send a fresh login elsewhere.
    typeof search.to === "string" && /^\/(?![/\\])/.test(search.to) ? { to: search.to } : {},
  component: LoginPage,
});

const shell = createRoute({ getParentRoute: () => root, id: "shell", component: Shell });

const teams = createRoute({
  getParentRoute: () => shell,
  path: "/",
  component: TeamsPage,
  errorComponent: ErrorPage,
  loader: async () => {
    const names = await queryClient.ensureQueryData(queries.teams());
    if (names.length === 1) throw redirect({ to: "/t/$team", params: { team: names[0] as string } });
  },
});

const team = createRoute({ getParentRoute: () => shell, path: "/t/$team", component: TeamPage });

export const streamRoute = createRoute({
  getParentRoute: () => shell,
  path: "/t/$team/streams/$stream",
  validateSearch: readSearch,
  search: { middlewares: [stripSearchParams(DEFAULT_SEARCH)] },
  component: lazyRouteComponent(() => import("./pages/StreamPage"), "StreamPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([login, shell.addChildren([teams, team, streamRoute])]),
  defaultPreload: "intent",
  // Plain strings stay readable in the address bar.
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const pairs = Object.entries(search).filter(([, value]) => value !== undefined && value !== null);
    const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
    return text ? `?${text}` : "";
  },
  defaultErrorComponent: ErrorPage,
  defaultNotFoundComponent: NotFoundPage,
});

whenSignedOut(() => {
  const here = router.state.location;
  if (here.pathname !== "/login") void router.navigate({ to: "/login", search: { to: here.href } });
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
