import type { Call } from "./view";

/** `known`: the outcome came, but names no class, so that it is neither right nor wrong. */
export type Verdict = "right" | "wrong" | "pending" | "known";

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
  const came = outcomeClass(call.outcome, call.prediction.length);
  if (came === null) return "known";
  return came === side(call.prediction) ? "right" : "wrong";
}

/** The class that came: a lone outcome names it, several are one-hot; null for anything else, as a regression's. */
export function outcomeClass(outcome: readonly number[], outputs: number): number | null {
  const [first] = outcome;
  if (outcome.length === 1) {
    const classes = outputs === 1 ? 2 : outputs;
    return first !== undefined && Number.isInteger(first) && first >= 0 && first < classes ? first : null;
  }
  const hot = outcome.indexOf(1);
  return hot >= 0 && outcome.every((value, place) => value === (place === hot ? 1 : 0)) ? hot : null;
}
