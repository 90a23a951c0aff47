import type { Bar, Forming, Gap, Prediction, Summary } from "../api/types";
import type { Message } from "./messages";

/** All that a live page shows, built from messages alone. Never changed in place. */
export interface View {
  ready: boolean;
  bars: readonly Bar[];
  forming: Forming | null;
  /** By model, ascending by ordinal; a score replaces its prediction. */
  calls: ReadonlyMap<string, readonly Call[]>;
  summaries: readonly Summary[];
  /** Holes in the feed. */
  gaps: readonly Gap[];
  /** Updates that were merged since we were too slow. */
  merged: number;
  /** Bumped when everything was replaced. */
  generation: number;
}

export interface Call extends Prediction {
  outcome?: number[];
}

export const emptyView: View = {
  ready: false,
  bars: [],
  forming: null,
  calls: new Map(),
  summaries: [],
  gaps: [],
  merged: 0,
  generation: 0,
};

export function receive(view: View, message: Message): View {
  switch (message.type) {
    case "snapshot":
      return {
        ...view,
        ready: true,
        bars: withEarlier(view.bars, message.bars),
        forming: message.forming,
        calls: putCalls(view.calls, [...message.predictions, ...message.scores]),
        summaries: message.summaries,
        gaps: message.gaps,
        generation: view.generation + 1,
      };
    case "bar": {
      const closed = view.forming !== null && view.forming.ordinal <= message.bar.ordinal;
      return { ...view, bars: put(view.bars, message.bar), forming: closed ? null : view.forming };
    }
    case "forming":
      return { ...view, forming: message.bar };
    case "prediction":
      return { ...view, calls: putCalls(view.calls, [message.prediction]) };
    case "score":
      return {
        ...view,
        calls: putCalls(view.calls, [message.score]),
        summaries: putSummary(view.summaries, message.summary),
      };
    case "gap":
      return { ...view, gaps: [...view.gaps, message.gap] };
    case "lagged":
      return { ...view, merged: view.merged + message.missed };
    default:
      return view;
  }
}

/** Put older bars, and what was said of them, before those that are there. */
export function prepend(view: View, older: readonly Bar[], said: readonly Call[] = []): View {
  const first = view.bars[0]?.ordinal ?? Number.POSITIVE_INFINITY;
  const fitting = older.filter((bar) => bar.ordinal < first);
  if (fitting.length === 0) return view;
  return {
    ...view,
    bars: [...fitting, ...view.bars],
    calls: putCalls(view.calls, said),
    generation: view.generation + 1,
  };
}

/** A fresh snapshot keeps the older bars that were loaded by scrolling, if they join up with it. */
function withEarlier(known: readonly Bar[], fresh: readonly Bar[]): readonly Bar[] {
  const first = fresh[0]?.ordinal;
  if (first === undefined) return fresh;
  const earlier = known.filter((bar) => bar.ordinal < first);
  return earlier.at(-1)?.ordinal === first - 1 ? [...earlier, ...fresh] : fresh;
}

function put<T extends { ordinal: number }>(list: readonly T[], item: T): readonly T[] {
  let place = list.length;
  while (place > 0 && (list[place - 1] as T).ordinal > item.ordinal) place -= 1;
  const repeat = place > 0 && list[place - 1]?.ordinal === item.ordinal;
  return [...list.slice(0, repeat ? place - 1 : place), item, ...list.slice(place)];
}

function putCalls(calls: View["calls"], fresh: readonly Call[]): View["calls"] {
  if (fresh.length === 0) return calls;
  if (fresh.length === 1) {
    const call = fresh[0] as Call;
    const known = calls.get(call.model) ?? [];
    if (!call.outcome && barAt(known, call.ordinal)?.outcome) return calls;
    return new Map(calls).set(call.model, put(known, call));
  }
  const byModel = new Map<string, Map<number, Call>>();
  for (const call of fresh) {
    let known = byModel.get(call.model);
    if (!known) {
      known = new Map((calls.get(call.model) ?? []).map((old) => [old.ordinal, old]));
      byModel.set(call.model, known);
    }
    if (call.outcome || !known.get(call.ordinal)?.outcome) known.set(call.ordinal, call);
  }
  const result = new Map(calls);
  for (const [model, known] of byModel) {
    result.set(
      model,
      [...known.values()].sort((a, b) => a.ordinal - b.ordinal),
    );
  }
  return result;
}

function putSummary(known: readonly Summary[], fresh: Summary): readonly Summary[] {
  return [...known.filter((one) => one.model !== fresh.model || one.symbol !== fresh.symbol), fresh];
}

/** The bar that holds a tick. */
export function barOf(view: View, index: number): Bar | null {
  const { forming } = view;
  if (forming && forming.first_index <= index && index <= forming.last_index) return forming;
  return view.bars.findLast((bar) => bar.first_index <= index && index <= bar.last_index) ?? null;
}

/** What was said last at a tick of a bar. */
export function callIn(calls: readonly Call[], bar: Bar): Call | null {
  return calls.findLast((call) => bar.first_index <= call.index && call.index <= bar.last_index) ?? null;
}

/** The hole before a tick of a bar, if there is one. */
export function gapIn(gaps: readonly Gap[], bar: Bar): Gap | null {
  return gaps.findLast((gap) => bar.first_index <= gap.before_index && gap.before_index <= bar.last_index) ?? null;
}

/** Find by ordinal in an ascending list. */
export function barAt<T extends { ordinal: number }>(list: readonly T[], ordinal: number): T | null {
  let low = 0;
  let high = list.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const item = list[middle] as T;
    if (item.ordinal === ordinal) return item;
    if (item.ordinal < ordinal) low = middle + 1;
    else high = middle - 1;
  }
  return null;
}
