import type { Range } from "./chart/live-chart";
import type { ZoneChoice } from "./format/time";

/** View state of a stream's page, as the address bar keeps it. */
export interface StreamSearch {
  symbol?: string;
  interval?: string;
  /** `none` shows bars without predictions. */
  deployment?: string;
  model?: string;
  zone: ZoneChoice;
  /** Number of visible bars while the latest is visible. */
  bars?: number;
  /** Visible span when looking at the past: ISO times. */
  from?: string;
  to?: string;
  /** Ordinal of the bar whose ticks are listed. */
  bar?: number;
}

export const DEFAULT_SEARCH = { zone: "exchange" as ZoneChoice };

const texts = ["symbol", "interval", "deployment", "model"] as const;

/** Read what an address says, leaving out what makes no sense. */
export function readSearch(raw: Record<string, unknown>): StreamSearch {
  const search: StreamSearch = { ...DEFAULT_SEARCH };
  for (const name of texts) if (typeof raw[name] === "string" && raw[name]) search[name] = raw[name];
  if (raw.zone === "utc" || raw.zone === "browser") search.zone = raw.zone;
  const bars = Number(raw.bars);
  if (Number.isInteger(bars) && bars >= 5 && bars <= 20_000) search.bars = bars;
  const bar = raw.bar === undefined ? Number.NaN : Number(raw.bar);
  if (Number.isInteger(bar) && bar >= 0) search.bar = bar;
  const [from, to] = [instant(raw.from), instant(raw.to)];
  if (from !== null && to !== null && from < to) {
    search.from = new Date(from).toISOString();
    search.to = new Date(to).toISOString();
  }
  return search;
}

export function rangeOf(search: StreamSearch): Range | null {
  if (search.from && search.to) return { kind: "span", from: Date.parse(search.from), to: Date.parse(search.to) };
  return search.bars ? { kind: "latest", count: search.bars } : null;
}

export function withRange(search: StreamSearch, range: Range): StreamSearch {
  const { from: _from, to: _to, bars: _bars, ...rest } = search;
  if (range.kind === "latest") return { ...rest, bars: Math.min(range.count, 20_000) };
  return { ...rest, from: new Date(range.from).toISOString(), to: new Date(range.to).toISOString() };
}

function instant(raw: unknown): number | null {
  const value = typeof raw === "string" ? Date.parse(raw) : Number.NaN;
  return Number.isNaN(value) ? null : value;
}
