// The API's JSON, as `streams/records.py` and the routes define it. Times are ISO 8601 UTC.

export interface Bar {
  symbol: string;
  interval: string;
  start: string;
  end: string;
  open: number;
  high: number;
  low: number;
  close: number;
  trades: number;
  volume: number;
  mean_trade_size: number;
  max_trade_size: number;
  first_index: number;
  last_index: number;
  ordinal: number;
}

/** The open bar: `ordinal` is that of the bar to be. */
export interface Forming extends Bar {
  last_timestamp: string;
}

export interface Prediction {
  deployment: string;
  model: string;
  symbol: string;
  interval: string;
  bar_start: string;
  index: number;
  prediction: number[];
  ordinal: number;
  published_at: string;
  latency_ms: number;
}

export interface Score extends Prediction {
  outcome: number[];
}

/** `symbol` null sums up all symbols. Values are null while nothing is scored. */
export interface Summary {
  model: string;
  symbol: string | null;
  scored: number;
  pending: number;
  accuracy: number | null;
  base_rate_accuracy: number | null;
  brier: number | null;
  base_rate_brier: number | null;
  recent_accuracy: number | null;
}

export interface Stream {
  name: string;
  /** Null: a topic that was filled by hand, without a file. */
  adapter: string | null;
  parameters: Record<string, unknown>;
  symbols: string[];
  status: string;
  intervals: string[];
}

export interface Deployment {
  name: string;
  stream: string;
  interval: string;
  ticker: string | null;
  models: string[];
  device: string;
  status: string;
}

/** One tick as `adapter[i]` gives it; adapters may keep more fields. */
export interface Packet {
  index: number;
  timestamp: string;
  symbol: string;
  Price: number;
  Volume: number;
  session?: number;
  Qualifiers?: string;
  "Date-Time": string;
  [field: string]: unknown;
}
