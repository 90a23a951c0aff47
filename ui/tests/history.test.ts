import { describe, expect, it } from "vitest";
import { collect } from "../src/live/history";
import type { Call } from "../src/live/view";

/** A server that has two models' calls at ticks 0 to 29. */
const kept = Array.from({ length: 60 }, (_, n) => ({ index: n >> 1, model: n % 2 ? "b" : "a" }) as Call);
const server = (size: number, asked: number[] = []) => ({
  asked,
  ask: (before: number) => {
    asked.push(before);
    return Promise.resolve(kept.filter((call) => call.index < before).slice(-size));
  },
});
const names = (calls: readonly Call[]) => [...new Set(calls.map((call) => `${call.index}${call.model}`))].sort();

describe("what was said of older bars", () => {
  it.each([3, 7, 20, 1000])("is complete with pages of %i", async (size) => {
    const { ask } = server(size);
    const wanted = kept.filter((call) => call.index >= 8 && call.index < 25);
    expect(names(await collect(ask, 8, 25, size))).toEqual(names(wanted));
  });

  it("ends at the beginning, and where nothing is", async () => {
    const all = server(7);
    expect(names(await collect(all.ask, 0, 10, 7))).toHaveLength(20);
    const none = server(7);
    expect(await collect(none.ask, 0, 0, 7)).toEqual([]);
    expect(none.asked).toEqual([0]);
  });

  it("is asked for at once if a page holds it", async () => {
    const { ask, asked } = server(1000);
    await collect(ask, 8, 25, 1000);
    expect(asked).toEqual([25]);
  });
});
