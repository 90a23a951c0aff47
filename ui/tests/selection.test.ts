import { describe, expect, it } from "vitest";
import type { Deployment, Stream } from "../src/api/types";
import { select, serves } from "../src/pages/selection";
import { DEFAULT_SEARCH } from "../src/search";

const stream = { name: "tape", symbols: ["AAPL.O", "BAC.N", "IBM.N"], intervals: ["1minute"] } as Stream;
const deployment = (name: string, interval: string, ticker: string | null = null) =>
  ({ name, stream: "tape", interval, ticker }) as Deployment;

describe("what a page shows", () => {
  it.each([
    [null, "IBM.N", true],
    ["IBM", "IBM.N", true],
    ["IBM.N, BAC.N", "BAC.N", true],
    ["IBM.N,BAC.N", "AAPL.O", false],
    ["BM", "IBM.N", false],
  ])("tickers %j serve %s: %s", (ticker, symbol, expected) => {
    expect(serves(deployment("d", "1minute", ticker), symbol)).toBe(expected);
  });

  it("is a symbol that the named deployment serves", () => {
    const found = select({ ...DEFAULT_SEARCH, deployment: "d" }, stream, [deployment("d", "5minute", "GE, IBM")]);
    expect([found?.symbol, found?.interval, found?.deployment?.name]).toEqual(["IBM.N", "5minute", "d"]);
  });

  it("keeps a named deployment over bars of another interval, and takes none of those by itself", () => {
    const all = [deployment("d", "5minute")];
    const search = { ...DEFAULT_SEARCH, interval: "1minute" };
    expect(select({ ...search, deployment: "d" }, stream, all)?.deployment?.name).toBe("d");
    expect(select(search, stream, all)?.deployment).toBeNull();
    expect(select({ ...search, deployment: "none" }, stream, all)?.deployment).toBeNull();
  });
});
