import type { Call } from "./view";

export type Verdict = "right" | "wrong" | "pending";

/** The class that an output means: a lone value is the probability of class 1; more are one per class. */
export function side(values: readonly number[]): number {
  if (values.length === 1) return (values[0] as number) >= 0.5 ? 1 : 0;
  return values.indexOf(Math.max(...values));
}

/** Probability to draw: of class 1 if there are two, of the likeliest class if there are more. */
export function probability(values: readonly number[]): number {
  if (values.length === 2) return values[1] as number;
  return values.length === 1 ? (values[0] as number) : Math.max(...values);
}

export function verdict(call: Call): Verdict {
  if (!call.outcome) return "pending";
  return side(call.outcome) === side(call.prediction) ? "right" : "wrong";
}
