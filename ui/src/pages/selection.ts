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
  const symbol = search.symbol ?? stream.symbols.find((one) => !named || serves(named, one)) ?? tickers(named)[0];
  if (symbol === undefined) return null;
  const fitting = here.filter((one) => serves(one, symbol) && (!search.interval || one.interval === search.interval));
  const chosen = named && serves(named, symbol) ? named : fitting[0];
  const deployment = search.deployment === "none" ? null : (chosen ?? null);
  const interval = search.interval ?? deployment?.interval ?? stream.intervals[0] ?? "1minute";
  return { symbol, interval, deployment };
}

/** Whether a symbol is predicted: all are without tickers, and `AAPL` means `AAPL.O` too. */
export function serves(deployment: Deployment, symbol: string): boolean {
  const wanted = tickers(deployment);
  return !wanted.length || wanted.includes(symbol) || wanted.includes(symbol.replace(/\.[^.]*$/, ""));
}

function tickers(deployment: Deployment | null): string[] {
  return (deployment?.ticker ?? "").split(",").flatMap((text) => text.trim() || []);
}

/** Intervals to offer: those of the stream's bars if the server tells them, and those of its deployments. */
export function intervalsOf(stream: Stream, deployments: readonly Deployment[], chosen: string): string[] {
  const offered = stream.intervals.length ? stream.intervals : COMMON_INTERVALS;
  const own = deployments.filter((one) => one.stream === stream.name).map((one) => one.interval);
  return [...new Set([...offered, ...own, chosen])];
}
