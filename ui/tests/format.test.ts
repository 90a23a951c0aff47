import { describe, expect, it } from "vitest";
import { duration, percent, price, quantity, signed } from "../src/format/number";
import { clock, clockMs, day, exchangeOf, full, resolveZone } from "../src/format/time";
import { rangeOf, readSearch, withRange } from "../src/search";

describe("times", () => {
  const summer = Date.parse("2013-10-07T13:30:05.125Z");
  const winter = Date.parse("2013-12-02T14:30:00Z");

  it("are shown in a zone, daylight saving minded", () => {
    expect(clock(summer, "America/New_York", false)).toBe("09:30");
    expect(clock(winter, "America/New_York", false)).toBe("09:30");
    expect(clock(summer, "UTC", true)).toBe("13:30:05");
    expect(clockMs(summer, "Europe/Berlin")).toBe("15:30:05.125");
    expect(clock(Date.parse("2013-10-07T00:00:00Z"), "UTC", false)).toBe("00:00");
  });

  it("name the day of the zone, not of UTC", () => {
    const late = Date.parse("2013-10-08T01:00:00Z");
    expect(day(late, "America/New_York")).toBe("Mon 7 Oct");
    expect(full(late, "America/New_York")).toBe("Mon 7 Oct 2013 21:00:00");
  });

  it("know exchanges by their suffix, and say so if they do not", () => {
    expect(exchangeOf("IBM.N")?.zone).toBe("America/New_York");
    expect(exchangeOf("VOD.L")?.zone).toBe("Europe/London");
    expect(resolveZone("exchange", "IBM.N").label).toBe("New York (exchange)");
    expect(resolveZone("exchange", "THING")).toEqual({ zone: "UTC", label: "UTC (exchange unknown)" });
    expect(resolveZone("utc", "IBM.N")).toEqual({ zone: "UTC", label: "UTC" });
  });
});

describe("numbers", () => {
  it("keep their meaning when shortened", () => {
    expect([quantity(99_999), quantity(123_456), quantity(1_250_000)]).toEqual(["99,999", "123.5K", "1.3M"]);
    expect([signed(0.123, 2), signed(-0.123, 2), signed(-0.001, 2)]).toEqual(["+0.12", "\u22120.12", "0.00"]);
    expect([percent(0.5412), percent(null)]).toEqual(["54.1 %", "–"]);
    expect([price(181.5), price(0.12345)]).toEqual(["181.50", "0.1235"]);
    expect([duration(8.24), duration(830), duration(61_000), duration(3_600_000)]).toEqual([
      "8.2 ms",
      "830 ms",
      "61.0 s",
      "60 min",
    ]);
  });
});

describe("an address", () => {
  it("gives back the range that it was given", () => {
    const span = { kind: "span", from: 1381152600000, to: 1381156200000 } as const;
    const latest = { kind: "latest", count: 200 } as const;
    for (const range of [span, latest]) {
      const raw = withRange(readSearch({ symbol: "IBM.N", bars: "50" }), range);
      const text = Object.fromEntries(Object.entries(raw).map(([name, value]) => [name, String(value)]));
      expect(rangeOf(readSearch(text))).toEqual(range);
    }
  });

  it("leaves out what makes no sense", () => {
    const search = readSearch({ bars: "-3", from: "yesterday", to: "2013-10-07", zone: "mars", bar: "x" });
    expect(search).toEqual({ zone: "exchange" });
    expect(readSearch({ from: "2013-10-08", to: "2013-10-07" })).toEqual({ zone: "exchange" });
  });
});
