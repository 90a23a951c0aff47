import createClient from "openapi-fetch";
import type { paths } from "./schema";
import type { Problem } from "./types";

/** The server's answer to a failed request: one sentence, and the id that finds it in the server's log. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly requestId: string | null,
  ) {
    super(message);
  }
}

const client = createClient<paths, "application/json">({ credentials: "same-origin" });

interface Answer<T> {
  data?: T;
  error?: Problem | string;
  response: Response;
}

async function body<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch (fault) {
    if (fault instanceof DOMException && fault.name === "AbortError") throw fault;
    throw new ApiError(0, "The server cannot be reached.", null);
  }
  const { data, error, response } = answer;
  if (response.ok) return data as T;
  const problem = typeof error === "object" ? error : null; // a proxy in between may answer something else
  const id = problem?.request_id ?? response.headers.get("x-request-id");
  throw new ApiError(response.status, problem?.detail ?? `The server answered ${response.status}.`, id);
}

type Signal = { signal: AbortSignal };
/** What was said of a symbol at ticks before one. */
type Said = { symbol: string; before_index: number; limit: number };

/** Every request of the page; paths, parameters and answers are checked against the API's document. */
export const api = {
  login: (token: string) => body(client.POST("/api/login", { body: { token } })),
  logout: () => body(client.POST("/api/logout")),
  teams: (options: Signal) => body(client.GET("/api/teams", options)),
  streams: (team: string, options: Signal) =>
    body(client.GET("/api/teams/{team}/streams", { params: { path: { team } }, ...options })),
  deployments: (team: string, options: Signal) =>
    body(client.GET("/api/teams/{team}/deployments", { params: { path: { team } }, ...options })),
  bars: async (team: string, stream: string, query: { interval: string; symbol: string; before: number }) => {
    const params = { path: { team, stream }, query: { ...query, limit: 1000 } };
    return (await body(client.GET("/api/teams/{team}/streams/{stream}/bars", { params }))).bars;
  },
  predictions: async (team: string, name: string, query: Said) => {
    const params = { path: { team, name }, query };
    return (await body(client.GET("/api/teams/{team}/deployments/{name}/predictions", { params }))).predictions;
  },
  scores: async (team: string, name: string, query: Said) => {
    const params = { path: { team, name }, query };
    return (await body(client.GET("/api/teams/{team}/deployments/{name}/scores", { params }))).scores;
  },
  ticks: (team: string, stream: string, query: { symbol: string; first: number; last: number }, options: Signal) => {
    const params = { path: { team, stream }, query };
    return body(client.GET("/api/teams/{team}/streams/{stream}/ticks", { params, ...options }));
  },
};

/** Path of the live channel, which OpenAPI does not describe. */
export function livePath(team: string, stream: string): string {
  return `/api/teams/${encodeURIComponent(team)}/streams/${encodeURIComponent(stream)}/live`;
}
