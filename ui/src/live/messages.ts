import type { Bar, Forming, Gap, Prediction, Score, Summary } from "../api/types";

/** What the server sends over a live channel. `seq` grows by one, except for `forming` and `heartbeat`. */
export type Message =
  | { type: "hello"; seq: number; epoch: string; resumed: boolean; heartbeat_s: number }
  | {
      type: "snapshot";
      seq: number;
      bars: Bar[];
      forming: Forming | null;
      predictions: Prediction[];
      scores: Score[];
      /** How each model did on this symbol. */
      summaries: Summary[];
      gaps: Gap[];
    }
  | { type: "bar"; seq: number; bar: Bar }
  | { type: "forming"; seq: number; bar: Forming }
  | { type: "prediction"; seq: number; prediction: Prediction }
  | { type: "score"; seq: number; score: Score; summary: Summary }
  | { type: "gap"; seq: number; gap: Gap }
  | { type: "lagged"; seq: number; missed: number }
  | { type: "error"; seq: number; detail: string }
  | { type: "heartbeat"; seq: number; time: string };

/** Kinds that the server numbers and can send again. */
const numbered = new Set<Message["type"]>(["snapshot", "bar", "prediction", "score", "gap", "lagged"]);

export function isNumbered(message: Message): boolean {
  return numbered.has(message.type);
}
