import { NativeSelect, SegmentedControl } from "@mantine/core";
import { useEffect, useState } from "react";
import { createPortal } from "react-dom";
import type { Deployment, Stream } from "../api/types";
import { browserZone, exchangeOf, type ZoneChoice } from "../format/time";
import type { LiveStore } from "../live/store";
import type { StreamSearch } from "../search";
import { LinkState } from "./LinkBanner";
import type { Change } from "./StreamPage";
import { intervalsOf, type Selection, serves } from "./selection";

interface ToolbarProps {
  stream: Stream;
  deployments: Deployment[];
  selection: Selection;
  search: StreamSearch;
  change: Change;
  store: LiveStore | null;
}

/** Ranges and picked bars belong to what was shown. */
const FRESH = { from: undefined, to: undefined, bar: undefined };

export function Toolbar({ stream, deployments, selection, search, change, store }: ToolbarProps) {
  const [place, setPlace] = useState<HTMLElement | null>(null);
  useEffect(() => setPlace(document.getElementById("tools")), []);
  if (!place) return null;
  const { symbol, interval, deployment } = selection;
  const fitting = deployments.filter((one) => one.stream === stream.name && serves(one, symbol));
  const intervals = intervalsOf(stream, deployments, interval);
  const pickDeployment = (name: string) => {
    const picked = fitting.find((one) => one.name === name);
    if (!picked) change({ ...FRESH, deployment: "none" });
    else change({ ...FRESH, deployment: name, interval: picked.interval });
  };
  const pickInterval = (value: string) => change({ ...FRESH, interval: value });
  const pickSymbol = (value: string) => {
    const keeps = deployment && serves(deployment, value);
    change({ ...FRESH, symbol: value, ...(keeps ? {} : { deployment: undefined }) });
  };
  const exchange = exchangeOf(symbol);
  return createPortal(
    <>
      <NativeSelect
        aria-label="Symbol"
        size="xs"
        className="tool-symbol"
        data={[...new Set([...stream.symbols, symbol])]}
        value={symbol}
        onChange={(event) => pickSymbol(event.currentTarget.value)}
      />
      {intervals.length <= 6 ? (
        <SegmentedControl
          aria-label="Interval"
          size="xs"
          data={intervals.map((value) => ({ value, label: shortInterval(value) }))}
          value={interval}
          onChange={pickInterval}
        />
      ) : (
        <NativeSelect
          aria-label="Interval"
          size="xs"
          data={intervals}
          value={interval}
          onChange={(event) => pickInterval(event.currentTarget.value)}
        />
      )}
      <NativeSelect
        aria-label="Deployment"
        size="xs"
        className="tool-deployment"
        data={[{ value: "none", label: "No predictions" }, ...fitting.map((one) => one.name)]}
        value={deployment?.name ?? "none"}
        onChange={(event) => pickDeployment(event.currentTarget.value)}
      />
      <span className="grow" />
      <NativeSelect
        aria-label="Time zone"
        size="xs"
        className="tool-zone"
        data={[
          { value: "exchange", label: exchange ? `${exchange.place} (exchange)` : "Exchange (unknown)" },
          { value: "utc", label: "UTC" },
          { value: "browser", label: `${browserZone()} (browser)` },
        ]}
        value={search.zone}
        onChange={(event) => change({ zone: event.currentTarget.value as ZoneChoice })}
      />
      {store ? <LinkState store={store} /> : null}
    </>,
    place,
  );
}

const UNITS: Record<string, string> = { second: "s", minute: "m", hour: "h", day: "d" };

/** `1minute` → `1m`; units of ticks, volume and dollars keep their names. */
export function shortInterval(interval: string): string {
  const [, size, unit] = /^(\d+)(\w+)$/.exec(interval) ?? [];
  return size && unit ? (UNITS[unit] ? `${size}${UNITS[unit]}` : `${size} ${unit}`) : interval;
}
