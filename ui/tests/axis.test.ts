import { describe, expect, it } from "vitest";
import { Axis } from "../src/chart/axis";

const bars = (starts: string[], first = 0) =>
  starts.map((start, place) => ({ start: `2013-10-07T${start}Z`, ordinal: first + place }));

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
    expect(axis.put(second as { start: string; ordinal: number })).toBe(axis.key(1));
    expect(axis.size).toBe(2);
    expect(() => axis.put({ start: "2013-10-07T13:40:00Z", ordinal: 5 })).toThrow("does not follow");
  });

  it("finds the bar of an instant", () => {
    const axis = new Axis();
    axis.reset(bars(["13:30:00", "13:31:00"]));
    const place = (time: string) => axis.placeOf(Date.parse(`2013-10-07T${time}Z`));
    expect([place("13:29:59"), place("13:30:00"), place("13:30:59"), place("14:00:00")]).toEqual([-1, 0, 0, 1]);
  });
});
