import type { Deployment, Stream } from "../api/types";
import type { StreamSearch } from "../search";

export const COMMON_INTERVALS = ["1second", "1minute", "5minute", "1hour", "1day"];

/** What the page shows, once defaults are filled in. */
export interface Selection {
  symbol: string;
  interval: string;
  deployment: Deployment | null;
}

/** Fill in what the address leaves open: a deployment's own symbol and interval, else the first that fit. */
export function select(search: StreamSearch, stream: Stream, deployments: readonly Deployment[]): Selection | null {
  const here = deployments.filter((one) => one.stream === stream.name);
  const named = here.find((one) => one.name === search.deployment) ?? null;
  const symbol = search.symbol ?? named?.ticker ?? stream.symbols[0];
  if (symbol === undefined) return null;
  const fitting = here.filter((one) => serves(one, symbol) && (!search.interval || one.interval === search.interval));
  const deployment = search.deployment === "none" ? null : (fitting.find((one) => one === named) ?? fitting[0] ?? null);
  const interval = search.interval ?? deployment?.interval ?? stream.intervals[0] ?? "1minute";
  return { symbol, interval, deployment };
}

export function serves(deployment: Deployment, symbol: string): boolean {
  return deployment.ticker === null || deployment.ticker === symbol;
}

/** Intervals to offer: those of the stream's bars if the server tells them, and those of its deployments. */
export function intervalsOf(stream: Stream, deployments: readonly Deployment[], chosen: string): string[] {
  const offered = stream.intervals.length ? stream.intervals : COMMON_INTERVALS;
  const own = deployments.filter((one) => one.stream === stream.name).map((one) => one.interval);
  return [...new Set([...offered, ...own, chosen])];
}
