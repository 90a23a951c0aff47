import type { Bar } from "../api/types";
import { saidText } from "../format/call";
import { count, price, quantity, signed } from "../format/number";
import { full } from "../format/time";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";
import { saysNumbers, verdict } from "../live/verdict";
import { barAt, type Call, callIn, gapIn } from "../live/view";
import { VerdictMark } from "../parts/icons";

interface LegendProps {
  store: LiveStore;
  hovered: number | null;
}

/** The bar under the crosshair, else the latest. */
function useBar({ store, hovered }: LegendProps): { bar: Bar | null; forming: boolean } {
  const bars = useSlice(store, (s) => s.view.bars);
  const forming = useSlice(store, (s) => s.view.forming);
  if (hovered === null) return { bar: forming ?? bars.at(-1) ?? null, forming: forming !== null };
  if (forming?.ordinal === hovered) return { bar: forming, forming: true };
  return { bar: barAt(bars, hovered), forming: false };
}

export function PriceLegend({
  store,
  hovered,
  title,
  zone,
}: LegendProps & { title: string; zone: { zone: string; label: string } }) {
  const { bar, forming } = useBar({ store, hovered });
  const gap = useSlice(store, (s) => (bar ? gapIn(s.view.gaps, bar) : null));
  const change = bar ? bar.close - bar.open : 0;
  return (
    <div className="legend legend-price" data-testid="legend">
      <strong>{title}</strong>
      {forming ? <span className="tag">forming</span> : null}
      {bar ? (
        <>
          <span className="legend-time">
            {full(Date.parse(bar.start), zone.zone)} <span className="faint">{zone.label}</span>
          </span>
          {(["open", "high", "low", "close"] as const).map((field) => (
            <span key={field}>
              <abbr title={field}>{field[0]?.toUpperCase()}</abbr>{" "}
              <b className={change < 0 ? "down" : "up"}>{price(bar[field])}</b>
            </span>
          ))}
          <span className={change < 0 ? "down" : "up"}>
            {signed(change, 2)} ({signed((change / bar.open) * 100, 2)} %)
          </span>
          {gap ? (
            <span className="tag">gap: {gap.missed === null ? "unknown" : count(gap.missed)} ticks missing</span>
          ) : null}
        </>
      ) : null}
    </div>
  );
}

export function VolumeLegend({ store, hovered, top }: LegendProps & { top: number }) {
  const { bar } = useBar({ store, hovered });
  return (
    <div className="legend" style={{ top }}>
      Volume
      {bar ? (
        <>
          <b>{quantity(bar.volume)}</b>
          <span>
            in <b>{quantity(bar.trades)}</b> trades, mean <b>{bar.mean_trade_size.toFixed(0)}</b>, max{" "}
            <b>{quantity(bar.max_trade_size)}</b>
          </span>
        </>
      ) : null}
    </div>
  );
}

export function CallsLegend({ store, hovered, model, top }: LegendProps & { model: string | null; top: number }) {
  const calls = useSlice(store, (s) => (model === null ? undefined : s.view.calls.get(model)));
  const numbers = saysNumbers(calls ?? []);
  const { bar } = useBar({ store, hovered });
  const call: Call | null = (hovered === null ? calls?.at(-1) : bar && callIn(calls ?? [], bar)) ?? null;
  const result = call ? verdict(call, numbers) : "pending";
  return (
    <div className="legend" style={{ top }}>
      {model ?? "Predictions"}
      {call ? (
        <span>
          {numbers ? "says" : "p"} <b>{saidText(call, numbers)}</b> <VerdictMark verdict={result} /> {result}
        </span>
      ) : (
        <span className="faint">{calls?.length ? "no prediction at this bar" : "no prediction yet"}</span>
      )}
      <span className="legend-key">
        {(numbers ? (["known", "pending"] as const) : (["right", "wrong", "pending"] as const)).map((one) => (
          <span key={one}>
            <VerdictMark verdict={one} /> {one}{" "}
          </span>
        ))}
      </span>
    </div>
  );
}
