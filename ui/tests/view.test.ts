import { describe, expect, it } from "vitest";
import type { Bar, Forming, Gap, Prediction, Score, Summary } from "../src/api/types";
import type { Message } from "../src/live/messages";
import { plotted, saysNumbers, verdict } from "../src/live/verdict";
import { barAt, barOf, type Call, callIn, emptyView, gapIn, prepend, receive, type View } from "../src/live/view";

const bar = (ordinal: number) => ({ ordinal, close: ordinal }) as Bar;
const forming = (ordinal: number) => ({ ordinal, last_timestamp: "" }) as Forming;
const said = (ordinal: number, p = 0.7, model = "m") => ({ ordinal, model, prediction: [p] }) as Prediction;
const score = (ordinal: number, outcome: number, p = 0.7) => ({ ...said(ordinal, p), outcome: [outcome] }) as Score;
const all = (messages: Partial<Message>[], view: View = emptyView) =>
  messages.reduce((state, message) => receive(state, message as Message), view);
const snapshot = (bars: Bar[]): Partial<Message> => ({
  type: "snapshot",
  bars,
  forming: null,
  predictions: [],
  scores: [],
  summaries: [],
  gaps: [],
});
const sums = (model: string, scored: number) => ({ model, symbol: "A", scored }) as Summary;
const ordinals = (list: readonly { ordinal: number }[]) => list.map((item) => item.ordinal);

describe("a view", () => {
  it("grows by closed bars, each once", () => {
    const view = all([snapshot([bar(0), bar(1)]), { type: "bar", bar: bar(2) }, { type: "bar", bar: bar(2) }]);
    expect(ordinals(view.bars)).toEqual([0, 1, 2]);
  });

  it("drops the open bar when it closes, and only then", () => {
    const open = all([snapshot([bar(0)]), { type: "forming", bar: forming(2) }, { type: "bar", bar: bar(1) }]);
    expect(open.forming?.ordinal).toBe(2);
    expect(receive(open, { type: "bar", seq: 1, bar: bar(2) }).forming).toBeNull();
  });

  it("replaces a prediction by its score, in whatever order they come", () => {
    const view = all([
      { type: "prediction", prediction: said(1) },
      { type: "score", score: score(0, 1), summary: sums("m", 1) },
      { type: "prediction", prediction: said(0) },
    ]);
    const calls = view.calls.get("m") ?? [];
    expect(ordinals(calls)).toEqual([0, 1]);
    expect(calls.map((call) => verdict(call))).toEqual(["right", "pending"]);
  });

  it("keeps models apart", () => {
    const view = all([
      { type: "prediction", prediction: said(0, 0.1, "a") },
      { type: "prediction", prediction: said(0, 0.9, "b") },
    ]);
    expect(view.calls.get("a")?.[0]?.prediction).toEqual([0.1]);
    expect(view.calls.get("b")?.[0]?.prediction).toEqual([0.9]);
  });

  it("keeps a summary of each model, the newest", () => {
    const first: Partial<Message> = { ...snapshot([bar(0)]), summaries: [sums("a", 1), sums("b", 1)] } as Message;
    const view = all([first, { type: "score", score: score(0, 1), summary: sums("a", 2) }]);
    expect(view.summaries.map((one) => [one.model, one.scored])).toEqual([
      ["b", 1],
      ["a", 2],
    ]);
  });

  it("takes older predictions with their bars, and an outcome whichever comes first", () => {
    const view = prepend(all([snapshot([bar(3)])]), [bar(1), bar(2)], [score(1, 1), said(1), said(2)]);
    expect(view.calls.get("m")?.map((call) => verdict(call))).toEqual(["right", "pending"]);
  });

  it("keeps older bars over a fresh snapshot if they join up with it", () => {
    const before = prepend(all([snapshot([bar(3), bar(4)])]), [bar(1), bar(2), bar(3)]);
    expect(ordinals(before.bars)).toEqual([1, 2, 3, 4]);
    expect(ordinals(all([snapshot([bar(4), bar(5)])], before).bars)).toEqual([1, 2, 3, 4, 5]);
    expect(ordinals(all([snapshot([bar(9)])], before).bars)).toEqual([9]);
  });

  it("counts updates that were merged", () => {
    const view = all([
      { type: "lagged", missed: 3 },
      { type: "lagged", missed: 4 },
    ]);
    expect(view.merged).toBe(7);
  });

  it("knows the holes of the feed, those before it too", () => {
    const gap = (before_index: number) => ({ before_index, missed: 3 }) as Gap;
    const view = all([{ ...snapshot([bar(1)]), gaps: [gap(4)] } as Message, { type: "gap", gap: gap(12) }]);
    const holding = { first_index: 10, last_index: 19 } as Bar;
    expect(gapIn(view.gaps, holding)).toEqual(gap(12));
    expect(gapIn(view.gaps, { ...holding, first_index: 13 })).toBeNull();
  });

  it("finds what was said at a bar's ticks, and the bar of a tick, whatever interval that was at", () => {
    const wide = (ordinal: number) => ({ ...bar(ordinal), first_index: 10 * ordinal, last_index: 10 * ordinal + 9 });
    const calls = [3, 6, 9, 12].map((index) => ({ ...said(index), index }));
    expect(callIn(calls, wide(0))?.index).toBe(9);
    expect(callIn(calls, wide(2))).toBeNull();
    const open = { ...forming(2), first_index: 20, last_index: 22 };
    const view = { ...emptyView, bars: [wide(0), wide(1)], forming: open };
    expect([9, 10, 21, 23].map((index) => barOf(view, index)?.ordinal)).toEqual([0, 1, 2, undefined]);
  });

  it("finds by ordinal", () => {
    const bars = [2, 4, 7].map(bar);
    expect(barAt(bars, 4)?.ordinal).toBe(4);
    expect(barAt(bars, 5)).toBeNull();
    expect(barAt([], 5)).toBeNull();
  });
});

describe("a verdict", () => {
  it.each([
    [[0.5], [1], "right"],
    [[0.49], [1], "wrong"],
    [[0.49], [0], "right"],
    [[0.2, 0.7, 0.1], [0, 1, 0], "right"],
    [[0.2, 0.7, 0.1], [0, 0, 1], "wrong"],
    [[0.2, 0.7, 0.1], [1], "right"],
    [[0.2, 0.7, 0.1], [2], "wrong"],
    [[0.3], [0.021], "known"],
  ])("of %j with outcome %j is %s", (prediction, outcome, expected) => {
    expect(verdict({ ...said(0), prediction, outcome })).toBe(expected);
  });
});

describe("what a model says", () => {
  const call = (prediction: number[], outcome?: number[]) => ({ ...said(0), prediction, outcome }) as Call;
  it.each([
    [[call([0.7])], false],
    [[call([0.7]), call([-0.2])], true],
    [[call([1.0000001])], false],
    [[call([0.001], [0]), call([0.002], [0.003]), call([0.001], [0.001])], true],
    [[call([0.7], [1]), call([0.2], [0]), call([0.2])], false],
    [[call([12.5], [1]), call([9], [1])], true],
    [[], false],
  ])("is %j numbers? %s", (calls, expected) => {
    expect(saysNumbers(calls)).toBe(expected);
  });

  it("is drawn as the number, or as the probability of class 1", () => {
    expect(plotted(call([-3]), true)).toBe(-3);
    expect(plotted(call([0.2, 0.8]), false)).toBe(0.8);
    expect([verdict(call([-3], [1]), true), verdict(call([-3]), true)]).toEqual(["known", "pending"]);
  });
});
