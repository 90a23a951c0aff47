import { Button, useComputedColorScheme } from "@mantine/core";
import { useCallback, useEffect, useRef, useState } from "react";
import { LiveChart, type Range } from "../chart/live-chart";
import { palettes } from "../chart/palette";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";
import { ToEnd } from "../parts/icons";
import { rangeOf, type StreamSearch, withRange } from "../search";
import { CallsLegend, PriceLegend, VolumeLegend } from "./Legend";
import { ShortcutHelp } from "./ShortcutHelp";
import type { Change } from "./StreamPage";
import type { Selection } from "./selection";
import { shortInterval } from "./Toolbar";
import { useShortcuts } from "./use-shortcuts";

interface ChartPanelProps {
  store: LiveStore;
  selection: Selection;
  search: StreamSearch;
  change: Change;
  model: string | null;
  zone: { zone: string; label: string };
}

export function ChartPanel({ store, selection, search, change, model, zone }: ChartPanelProps) {
  const holder = useRef<HTMLDivElement>(null);
  const chart = useRef<LiveChart | null>(null);
  const scheme = useComputedColorScheme("dark");
  const ready = useSlice(store, (s) => s.view.ready);
  const empty = useSlice(store, (s) => s.view.ready && s.view.bars.length === 0 && s.view.forming === null);
  const [hovered, setHovered] = useState<number | null>(null);
  const [latest, setLatest] = useState(true);
  const [tops, setTops] = useState<number[]>([]);
  const now = useRef({ search, model, zone: zone.zone, scheme, change });
  now.current = { search, model, zone: zone.zone, scheme, change };

  const onRange = useCallback((range: Range) => {
    setLatest(range.kind === "latest");
    const { search, change } = now.current;
    const next = withRange(search, range);
    if (next.bars === search.bars && next.from === search.from && next.to === search.to) return;
    const part = { bars: next.bars, from: next.from, to: next.to };
    change(part, { replace: true });
  }, []);

  const withCalls = selection.deployment !== null;
  useEffect(() => {
    if (!ready || !holder.current) return;
    const element = holder.current;
    let frame = 0;
    let ended = false;
    let made: LiveChart | null = null;
    let forget = () => {};
    const begin = async () => {
      const range = rangeOf(now.current.search);
      if (range?.kind === "span") await store.cover(range.from);
      if (ended) return;
      made = new LiveChart(element, {
        zone: now.current.zone,
        palette: palettes[now.current.scheme],
        withCalls,
        range,
        onHover: setHovered,
        onPick: (ordinal) => now.current.change({ bar: ordinal }),
        onRange,
        onNeedOlder: () => void store.loadOlder(),
        onLayout: setTops,
      });
      chart.current = made;
      // However many messages come, the chart is drawn once a frame.
      const draw = () => {
        frame = 0;
        made?.show(store.view, now.current.model);
      };
      draw();
      made.pick(now.current.search.bar ?? null);
      forget = store.subscribe(() => {
        frame ||= requestAnimationFrame(draw);
      });
    };
    void begin();
    return () => {
      ended = true;
      forget();
      cancelAnimationFrame(frame);
      made?.destroy();
      chart.current = null;
    };
  }, [store, ready, withCalls, onRange]);

  useEffect(() => chart.current?.setPalette(palettes[scheme]), [scheme]);
  useEffect(() => chart.current?.setZone(zone.zone), [zone.zone]);
  useEffect(() => chart.current?.show(store.view, model), [store, model]);
  useEffect(() => chart.current?.pick(search.bar ?? null), [search.bar]);
  const [help, setHelp] = useState(false);
  const closeTicks = useCallback(() => {
    if (now.current.search.bar !== undefined) now.current.change({ bar: undefined });
  }, []);
  const openHelp = useCallback(() => setHelp(true), []);
  useShortcuts(chart, closeTicks, openHelp);

  return (
    <section className="chart" aria-label={`${selection.symbol}, bars of ${selection.interval}`}>
      <div ref={holder} className="chart-canvas" />
      <ShortcutHelp opened={help} onClose={() => setHelp(false)} />
      <PriceLegend
        store={store}
        hovered={hovered}
        title={`${selection.symbol} · ${shortInterval(selection.interval)}`}
        zone={zone}
      />
      {tops[1] !== undefined && !empty ? <VolumeLegend store={store} hovered={hovered} top={tops[1]} /> : null}
      {tops[2] !== undefined && withCalls && !empty ? (
        <CallsLegend store={store} hovered={hovered} model={model} top={tops[2]} />
      ) : null}
      {ready ? null : (
        <div className="chart-cover" role="status">
          Waiting for bars…
        </div>
      )}
      {empty ? (
        <div className="chart-cover" role="status">
          <strong>No bars of {selection.interval} yet</strong>
          <span>They appear here as soon as the first trade of {selection.symbol} is in one.</span>
        </div>
      ) : null}
      {latest || empty ? null : (
        <Button className="to-latest" size="xs" leftSection={<ToEnd />} onClick={() => chart.current?.jumpToLatest()}>
          Jump to latest
        </Button>
      )}
    </section>
  );
}
