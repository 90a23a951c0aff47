import { outcomeClass, probability } from "../live/verdict";
import type { Call } from "../live/view";
import { figure } from "./number";

function figures(values: readonly number[], digits: number): string {
  return values.map((value) => figure(value, digits)).join(", ");
}

/** What a prediction says: a probability, or numbers. */
export function saidText(call: Call, numbers: boolean, digits = 4): string {
  return numbers ? figures(call.prediction, digits) : probability(call.prediction).toFixed(3);
}

/** What came of it. */
export function outcomeText(call: Call, numbers: boolean, digits = 4): string {
  if (!call.outcome) return "–";
  if (numbers) return figures(call.outcome, digits);
  const came = outcomeClass(call.outcome, call.prediction.length);
  return came === null ? (call.outcome[0] ?? Number.NaN).toPrecision(3) : String(came);
}
