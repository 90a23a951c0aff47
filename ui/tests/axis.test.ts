import { describe, expect, it } from "vitest";
import { Axis, type Placed } from "../src/chart/axis";

const bars = (starts: string[], first = 0) =>
  starts.map((start, place) => {
    const ordinal = first + place;
    return { start: `2013-10-07T${start}Z`, ordinal, first_index: 10 * ordinal, last_index: 10 * ordinal + 9 };
  });

describe("an axis", () => {
  it("places time bars at their own second", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00", "13:31:00", "13:35:00"], 7));
    expect(axis.key(8)).toBe(Date.parse("2013-10-07T13:31:00Z") / 1000);
    expect(axis.ordinalAt(2)).toBe(9);
    expect(axis.ordinalAt(3)).toBeNull();
    expect(axis.key(6)).toBeNull();
  });

  it("gives bars of one second ascending keys, and labels them by their own start", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00.1", "13:30:00.5", "13:30:00.9", "13:30:01.2"]));
    const keys = [0, 1, 2, 3].map((ordinal) => axis.key(ordinal) as number);
    expect(keys).toEqual([...new Set(keys)].sort((a, b) => a - b));
    expect(axis.start(keys[3] as number)).toBe(Date.parse("2013-10-07T13:30:01.2Z"));
  });

  it("keeps the key of a bar that it knows, and refuses one behind a hole", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00", "13:31:00"]));
    const [, second] = bars(["13:30:00", "13:31:00"]);
    expect(axis.put(second as Placed)).toBe(axis.key(1));
    expect(axis.size).toBe(2);
    expect(() => axis.put(bars(["13:40:00"], 5)[0] as Placed)).toThrow("does not follow");
  });

  it("finds the bar of a tick, also of one that an open bar has taken since", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00", "13:31:00"], 1));
    expect([9, 10, 19, 20, 29, 30].map((index) => axis.keyAt(index))).toEqual([
      null,
      axis.key(1),
      axis.key(1),
      axis.key(2),
      axis.key(2),
      null,
    ]);
    axis.put({ ...(bars(["13:31:00"], 2)[0] as Placed), last_index: 31 });
    expect(axis.keyAt(30)).toBe(axis.key(2));
    expect(new Axis().keyAt(0)).toBeNull();
  });

  it("finds the bar of an instant", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00", "13:31:00"]));
    const place = (time: string) => axis.placeOf(Date.parse(`2013-10-07T${time}Z`));
    expect([place("13:29:59"), place("13:30:00"), place("13:30:59"), place("14:00:00")]).toEqual([-1, 0, 0, 1]);
  });
});
