import type { Call } from "./view";

/** A model is judged by so many of its latest calls; float32 probabilities may be off by the rounding. */
const RECENT = 200;
const ROUNDING = 1e-6;

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

/** Whether a model says numbers, not classes: most outcomes name none; before any is known, a value is no probability. */
export function saysNumbers(calls: readonly Call[]): boolean {
  const recent = calls.slice(-RECENT);
  const known = recent.filter((call) => call.outcome);
  if (known.length === 0) return !recent.every(isProbable);
  const classes = known.filter(
    (call) => isProbable(call) && outcomeClass(call.outcome ?? [], call.prediction.length) !== null,
  );
  return 2 * classes.length <= known.length;
}

function isProbable(call: Call): boolean {
  return call.prediction.every((p) => p >= -ROUNDING && p <= 1 + ROUNDING);
}

/** What is drawn of a call. */
export function plotted(call: Call, numbers: boolean): number {
  return numbers ? (call.prediction[0] ?? Number.NaN) : probability(call.prediction);
}

export function verdict(call: Call, numbers = false): Verdict {
  if (!call.outcome) return "pending";
  if (numbers) return "known";
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
