import { QueryCache, QueryClient, queryOptions } from "@tanstack/react-query";
import { ApiError, api } from "./client";

let onSignedOut = () => {};

/** Say what happens when the server no longer knows us. */
export function whenSignedOut(action: () => void): void {
  onSignedOut = action;
}

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof ApiError && error.status === 401) onSignedOut();
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      retry: (failures, error) =>
        failures < 2 && !(error instanceof ApiError && error.status >= 400 && error.status < 500),
    },
  },
});

const REFRESH_MS = 5_000;

export const queries = {
  teams: () => queryOptions({ queryKey: ["teams"], queryFn: ({ signal }) => api.teams({ signal }) }),
  streams: (team: string) =>
    queryOptions({
      queryKey: ["streams", team],
      queryFn: ({ signal }) => api.streams(team, { signal }),
      refetchInterval: REFRESH_MS,
    }),
  deployments: (team: string) =>
    queryOptions({
      queryKey: ["deployments", team],
      queryFn: ({ signal }) => api.deployments(team, { signal }),
      refetchInterval: REFRESH_MS,
    }),
  ticks: (team: string, stream: string, symbol: string, first: number, last: number) =>
    queryOptions({
      queryKey: ["ticks", team, stream, symbol, first, last],
      queryFn: ({ signal }) => api.ticks(team, stream, { symbol, first, last }, { signal }),
      staleTime: Number.POSITIVE_INFINITY,
      // The store may be a moment behind the stream: ask until all of them are there.
      refetchInterval: (query) => (query.state.data && query.state.data.length < last - first + 1 ? REFRESH_MS : false),
    }),
};

/** Ask whether the session still holds; if not, the page goes to the login. */
export function checkSession(): void {
  void queryClient.fetchQuery({ ...queries.teams(), staleTime: 0, retry: false }).catch(() => undefined);
}
