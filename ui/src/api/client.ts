import type { Bar, Deployment, Packet, Stream, Summary } from "./types";

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

async function request<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/api${path}`, { credentials: "same-origin", ...init });
  } catch (fault) {
    if (init.signal?.aborted) throw fault;
    throw new ApiError(0, "The server cannot be reached.", null);
  }
  const id = response.headers.get("x-request-id");
  const body = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) {
    const detail = typeof body?.detail === "string" ? body.detail : `The server answered ${response.status}.`;
    throw new ApiError(response.status, detail, body?.request_id ?? id);
  }
  return body as T;
}

const part = encodeURIComponent;
const stream = (team: string, name: string) => `/teams/${part(team)}/streams/${part(name)}`;

export const api = {
  login: (token: string) =>
    request<unknown>("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    }),
  logout: () => request<unknown>("/logout", { method: "POST" }),
  health: () => request<{ version: string }>("/health"),
  teams: (signal?: AbortSignal) => request<string[]>("/teams", signal ? { signal } : {}),
  streams: (team: string, signal: AbortSignal) => request<Stream[]>(`/teams/${part(team)}/streams`, { signal }),
  deployments: (team: string, signal: AbortSignal) =>
    request<Deployment[]>(`/teams/${part(team)}/deployments`, { signal }),
  bars: async (team: string, name: string, query: { interval: string; symbol: string; before: number }) => {
    const search = new URLSearchParams({ ...query, before: String(query.before), limit: "1000" });
    return (await request<{ bars: Bar[] }>(`${stream(team, name)}/bars?${search}`)).bars;
  },
  summaries: async (team: string, deployment: string, symbol: string, signal: AbortSignal) => {
    const search = new URLSearchParams({ symbol, limit: "1" });
    const path = `/teams/${part(team)}/deployments/${part(deployment)}/scores?${search}`;
    return (await request<{ summary: Summary[] }>(path, { signal })).summary;
  },
  ticks: async (
    team: string,
    name: string,
    query: { symbol: string; first: number; last: number },
    signal: AbortSignal,
  ) => {
    const search = new URLSearchParams({ symbol: query.symbol, first: `${query.first}`, last: `${query.last}` });
    return request<Packet[]>(`${stream(team, name)}/ticks?${search}`, { signal });
  },
};

export function livePath(team: string, name: string): string {
  return `/api${stream(team, name)}/live`;
}
