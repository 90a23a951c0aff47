import { outcomeClass, probability } from "../live/verdict";
import type { Call } from "../live/view";
import { figure } from "./number";

/** What a prediction says: a probability, or numbers. */
export function saidText(call: Call, numbers: boolean, digits = 4): string {
  return numbers
    ? call.prediction.map((value) => figure(value, digits)).join(", ")
    : probability(call.prediction).toFixed(3);
}

/** What came of it. */
export function outcomeText(call: Call, numbers: boolean, digits = 4): string {
  if (!call.outcome) return "–";
  if (numbers) return call.outcome.map((value) => figure(value, digits)).join(", ");
  const came = outcomeClass(call.outcome, call.prediction.length);
  return came === null ? (call.outcome[0] ?? Number.NaN).toPrecision(3) : String(came);
}
