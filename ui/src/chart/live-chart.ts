import {
  type AutoscaleInfo,
  type CandlestickData,
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  createChart,
  createSeriesMarkers,
  type HistogramData,
  HistogramSeries,
  type IChartApi,
  type ICustomSeriesPaneView,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  type LogicalRange,
  TickMarkType,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";
import type { Bar, Forming, Gap } from "../api/types";
import { figure } from "../format/number";
import { clock, day, full, month } from "../format/time";
import { plotted, saysNumbers, verdict } from "../live/verdict";
import type { Call, View } from "../live/view";
import { Axis } from "./axis";
import { type CallPoint, type CallsOptions, CallsSeries } from "./calls-series";
import type { Palette } from "./palette";

/** What of the bars is visible: the latest `count`, or from one instant (ms) to another. */
export type Range = { kind: "latest"; count: number } | { kind: "span"; from: number; to: number };

export interface LiveChartOptions {
  zone: string;
  palette: Palette;
  withCalls: boolean;
  range: Range | null;
  onHover: (ordinal: number | null) => void;
  onPick: (ordinal: number) => void;
  onRange: (range: Range) => void;
  onNeedOlder: () => void;
  onLayout: (tops: number[]) => void;
}

const RIGHT_MARGIN = 6;
const OLDER_WHEN_WITHIN = 30;
const DEFAULT_BAR_WIDTH = 7.5;
/** More changed predictions than this are drawn all anew. */
const FEW = 32;
const STRETCH = { price: 62, volume: 14, calls: 24 };
const PROBABILITY = {
  type: "custom" as const,
  formatter: (p: number) => (p < -0.001 || p > 1.001 ? "" : p.toFixed(2)),
  minMove: 0.01,
};
const NUMBER = {
  type: "custom" as const,
  formatter: (value: number) => (value ? figure(value, 2) : "0"),
  minMove: 1e-9,
};
const UNIT: AutoscaleInfo = { priceRange: { minValue: 0, maxValue: 1 } };

/** The range of what is visible, and the line that stems begin at. */
function withZero(own: AutoscaleInfo | null): AutoscaleInfo | null {
  const range = own?.priceRange;
  if (!range) return own;
  return { ...own, priceRange: { minValue: Math.min(0, range.minValue), maxValue: Math.max(0, range.maxValue) } };
}

/** Candles, volume and predictions on one time scale. React stays out: it hands over views and gets events. */
export class LiveChart {
  private readonly chart: IChartApi;
  private readonly candles: ISeriesApi<"Candlestick">;
  private readonly volume: ISeriesApi<"Histogram">;
  private readonly calls: ISeriesApi<"Custom", Time, CallPoint, CallsOptions> | null;
  private readonly pointer: ISeriesMarkersPluginApi<Time>;
  private readonly holes: ISeriesMarkersPluginApi<Time>;
  private readonly axis = new Axis();
  private readonly observer: ResizeObserver;
  private shown: View | null = null;
  private numbers = false;
  private model: string | null = null;
  private palette: Palette;
  private zone: string;
  private lastColour = "";
  private early = false;
  private holesEarly = false;
  private drawn: readonly Call[] = [];
  private picked: number | null = null;
  private restored = false;
  private settling = 0;

  constructor(
    private readonly container: HTMLElement,
    private readonly options: LiveChartOptions,
  ) {
    this.palette = options.palette;
    this.zone = options.zone;
    this.chart = createChart(container, {
      autoSize: true,
      layout: { attributionLogo: true, panes: { enableResize: false } },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { minimumWidth: 66 },
      timeScale: {
        timeVisible: true,
        secondsVisible: false,
        rightOffset: RIGHT_MARGIN,
        minBarSpacing: 0.8,
        lockVisibleTimeRangeOnResize: false,
        tickMarkFormatter: (key: Time, kind: TickMarkType) => this.tickLabel(key as number, kind),
      },
      localization: { timeFormatter: (key: Time) => full(this.axis.start(key as number), this.zone) },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: true }, 0);
    this.pointer = createSeriesMarkers(this.candles);
    this.holes = createSeriesMarkers(this.candles);
    this.volume = this.chart.addSeries(
      HistogramSeries,
      { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    this.calls = options.withCalls ? this.addCalls() : null;
    const panes = this.chart.panes();
    panes[0]?.setStretchFactor(STRETCH.price);
    panes[1]?.setStretchFactor(STRETCH.volume);
    panes[2]?.setStretchFactor(STRETCH.calls);
    // The legend takes one line on a wide chart, three on a narrow one.
    const top = container.clientWidth < 560 ? 0.2 : 0.12;
    this.candles.priceScale().applyOptions({ scaleMargins: { top, bottom: 0.06 } });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.3, bottom: 0 } });
    this.setPalette(options.palette);
    this.chart.subscribeCrosshairMove((event) => {
      options.onHover(event.logical === undefined || !event.point ? null : this.axis.ordinalAt(event.logical));
    });
    this.chart.subscribeClick((event) => {
      const ordinal = event.logical === undefined ? null : this.axis.ordinalAt(event.logical);
      if (ordinal !== null) options.onPick(ordinal);
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => this.rangeChanged(range));
    this.observer = new ResizeObserver(() => this.tellLayout());
    this.observer.observe(container);
    this.tellLayout();
  }

  destroy(): void {
    this.observer.disconnect();
    this.chart.remove();
  }

  /** Show a view; what it shares with the one before is not drawn again. */
  show(view: View, model: string | null): void {
    const before = this.shown;
    this.shown = view;
    const all = before === null || before.generation !== view.generation || !this.follows(before, view);
    if (all) this.replace(view);
    else this.extend(before, view);
    const calls = model === null ? [] : (view.calls.get(model) ?? []);
    this.colourLast(view);
    const anew = this.scaleCalls(calls) || all || model !== this.model || this.early;
    if (anew || before?.calls !== view.calls) this.showCalls(calls, anew);
    if (all || before.gaps !== view.gaps || this.holesEarly) this.showGaps(view.gaps);
    this.model = model;
    if (view.ready && !this.restored) {
      this.restored = true;
      this.restore(this.options.range ?? { kind: "latest", count: this.defaultCount() });
    }
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: palette.background },
        textColor: palette.text,
        fontSize: 11,
        fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
        panes: { separatorColor: palette.border },
      },
      grid: { vertLines: { color: palette.grid }, horzLines: { color: palette.grid } },
      rightPriceScale: { borderColor: palette.border },
      timeScale: { borderColor: palette.border },
      crosshair: {
        vertLine: { color: palette.crosshair, labelBackgroundColor: palette.label },
        horzLine: { color: palette.crosshair, labelBackgroundColor: palette.label },
      },
    });
    this.candles.applyOptions({
      // Rising bars are hollow, so that their direction can be told without colours.
      upColor: palette.background,
      borderUpColor: palette.up,
      wickUpColor: palette.up,
      downColor: palette.down,
      borderDownColor: palette.down,
      wickDownColor: palette.down,
    });
    const marks: Partial<CallsOptions> = {
      right: palette.right,
      wrong: palette.wrong,
      pending: palette.pending,
      known: palette.pending,
      half: palette.half,
      color: palette.text,
    };
    this.calls?.applyOptions(marks as object);
    if (!this.shown) return;
    this.replace(this.shown);
    this.colourLast(this.shown);
    this.showGaps(this.shown.gaps);
  }

  setZone(zone: string): void {
    this.zone = zone;
    // The same options again: the chart then asks for all labels anew.
    this.chart.applyOptions({
      localization: { timeFormatter: (key: Time) => full(this.axis.start(key as number), this.zone) },
      timeScale: { tickMarkFormatter: (key: Time, kind: TickMarkType) => this.tickLabel(key as number, kind) },
    });
  }

  /** Point at a bar, or at none. */
  pick(ordinal: number | null): void {
    this.picked = ordinal;
    const key = ordinal === null ? null : this.axis.key(ordinal);
    this.pointer.setMarkers(
      key === null
        ? []
        : [{ time: key as UTCTimestamp, position: "aboveBar", shape: "arrowDown", color: this.palette.right, size: 1 }],
    );
  }

  jumpToLatest(): void {
    this.restore({ kind: "latest", count: this.visibleCount() });
  }

  /** Zoom around the middle by a factor, or pan by a share of what is visible. */
  move(action: { zoom?: number; pan?: number }): void {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const width = range.to - range.from;
    // Not out of sight: to the first bar on the left, to the middle of the chart on the right.
    const leftmost = Math.min(0, -1 - range.from);
    const rightmost = Math.max(0, this.axis.size - width / 2 - range.from);
    const pan = Math.min(Math.max((action.pan ?? 0) * width, leftmost), rightmost);
    const growth = (width * ((action.zoom ?? 1) - 1)) / 2;
    scale.setVisibleLogicalRange({ from: range.from + pan - growth, to: range.to + pan + growth });
  }

  private addCalls(): ISeriesApi<"Custom", Time, CallPoint, CallsOptions> {
    const view = new CallsSeries() as ICustomSeriesPaneView<Time, CallPoint, CallsOptions>;
    const series = this.chart.addCustomSeries(
      view,
      {
        priceLineVisible: false,
        lastValueVisible: false,
        priceFormat: PROBABILITY,
        autoscaleInfoProvider: (own: () => AutoscaleInfo | null) => (this.numbers ? withZero(own()) : UNIT),
      },
      2,
    );
    series.priceScale().applyOptions({ scaleMargins: { top: 0.16, bottom: 0.06 } });
    return series as ISeriesApi<"Custom", Time, CallPoint, CallsOptions>;
  }

  /** Fit the pane to what a model says; returns whether that changed. */
  private scaleCalls(calls: readonly Call[]): boolean {
    const numbers = saysNumbers(calls);
    if (numbers === this.numbers) return false;
    this.numbers = numbers;
    const options: Partial<CallsOptions> = { priceFormat: numbers ? NUMBER : PROBABILITY, base: numbers ? 0 : 0.5 };
    this.calls?.applyOptions(options as object);
    return true;
  }

  private follows(before: View, view: View): boolean {
    const last = view.bars.at(-1);
    const forming = view.forming;
    if (before.bars.length > view.bars.length) return false;
    if (forming && last && forming.ordinal !== last.ordinal + 1) return false;
    return !last || last.ordinal === (view.bars[0]?.ordinal ?? 0) + view.bars.length - 1;
  }

  private replace(view: View): void {
    const scale = this.chart.timeScale();
    const range = this.restored ? scale.getVisibleLogicalRange() : null;
    const [size, first] = [this.axis.size, this.axis.ordinalAt(0)];
    const bars: (Bar | Forming)[] = contiguous(view);
    this.axis.reset(bars);
    this.candles.setData(bars.map((bar) => this.candle(bar)));
    this.volume.setData(bars.map((bar) => this.volumeOf(bar)));
    this.pick(this.picked);
    const fresh = this.axis.ordinalAt(0);
    if (!range || first === null || fresh === null) return;
    // Who watches the latest bar goes on doing so; who looks at the past keeps it in place.
    const shift = range.to >= size - 1 ? this.axis.size - size : first - fresh;
    scale.setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
  }

  private extend(before: View, view: View): void {
    if (before.bars !== view.bars) {
      const known = before.bars.at(-1)?.ordinal ?? -1;
      for (const bar of view.bars.slice(before.bars.length - view.bars.length)) {
        if (bar.ordinal > known) this.update(bar);
      }
    }
    if (view.forming && before.forming !== view.forming) this.update(view.forming);
  }

  private update(bar: Bar): void {
    this.candles.update(this.candle(bar));
    this.volume.update(this.volumeOf(bar));
  }

  /** The label of the last price would else take a hollow bar's fill. */
  private colourLast(view: View): void {
    const last = view.forming ?? view.bars.at(-1);
    const colour = last && last.close < last.open ? this.palette.down : this.palette.up;
    if (colour === this.lastColour) return;
    this.lastColour = colour;
    this.candles.applyOptions({ priceLineColor: colour });
  }

  private showCalls(calls: readonly Call[], all: boolean): void {
    const drawn = this.drawn;
    calls = this.lastOfBars(calls);
    this.drawn = calls;
    // Bars and predictions are topics of their own: a prediction may come before its bar, and is drawn with it.
    const last = calls.at(-1);
    this.early = last !== undefined && this.axis.size > 0 && this.axis.keyAt(last.index) === null;
    let same = 0;
    while (same < calls.length && calls[same] === drawn[same]) same += 1;
    const changed = calls.slice(same).filter((call, place) => call !== drawn[same + place]);
    const aligned = drawn.every((call, place) => place < same || call.ordinal === calls[place]?.ordinal);
    if (all || !aligned || changed.length > FEW || drawn.length === 0) {
      this.calls?.setData(calls.map((call) => this.point(call)).filter((point) => point !== null));
      return;
    }
    const newest = this.axis.keyAt(drawn.at(-1)?.index ?? 0) ?? 0;
    for (const call of changed) {
      const point = this.point(call);
      if (point) this.calls?.update(point, (point.time as number) < newest);
    }
  }

  /** Mark the bars before which, or in which, ticks are missing. */
  private showGaps(gaps: readonly Gap[]): void {
    const places = gaps.map((gap) => this.axis.keyAt(gap.before_index));
    this.holesEarly = gaps.some((gap, place) => places[place] === null && gap.before_index > this.axis.firstIndex);
    const keys = [...new Set(places.filter((key) => key !== null))].sort((a, b) => a - b);
    this.holes.setMarkers(
      keys.map((key) => ({
        time: key as UTCTimestamp,
        position: "belowBar",
        shape: "square",
        color: this.palette.wrong,
        text: "gap",
        size: 0.6,
      })),
    );
  }

  /** Predictions at bars shorter than those shown share one of these: the last counts. */
  private lastOfBars(calls: readonly Call[]): readonly Call[] {
    const keys = calls.map((call) => this.axis.keyAt(call.index));
    return calls.filter((_, place) => keys[place] === null || keys[place] !== keys[place + 1]);
  }

  private point(call: Call): CallPoint | null {
    const key = this.axis.keyAt(call.index);
    if (key === null) return null;
    return { time: key as UTCTimestamp, p: plotted(call, this.numbers), verdict: verdict(call, this.numbers) };
  }

  private candle(bar: Bar): CandlestickData {
    const time = this.axis.put(bar) as UTCTimestamp;
    return { time, open: bar.open, high: bar.high, low: bar.low, close: bar.close };
  }

  private volumeOf(bar: Bar): HistogramData {
    const time = this.axis.put(bar) as UTCTimestamp;
    return { time, value: bar.volume, color: bar.close >= bar.open ? this.palette.upVolume : this.palette.downVolume };
  }

  private restore(range: Range): void {
    const scale = this.chart.timeScale();
    if (range.kind === "latest") {
      const end = this.axis.size - 1 + RIGHT_MARGIN;
      scale.setVisibleLogicalRange({ from: end - range.count, to: end });
    } else {
      scale.setVisibleLogicalRange({ from: this.axis.placeOf(range.from), to: this.axis.placeOf(range.to) });
    }
  }

  private visibleCount(): number {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    return range ? Math.max(5, Math.round(range.to - range.from)) : this.defaultCount();
  }

  private defaultCount(): number {
    return Math.max(20, Math.round(this.container.clientWidth / DEFAULT_BAR_WIDTH));
  }

  private rangeChanged(range: LogicalRange | null): void {
    if (!range || !this.restored || this.axis.size === 0) return;
    if (range.from < OLDER_WHEN_WITHIN) this.options.onNeedOlder();
    window.clearTimeout(this.settling);
    this.settling = window.setTimeout(() => this.tellRange(), 150);
  }

  private tellRange(): void {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const last = this.axis.size - 1;
    if (range.to >= last) {
      this.options.onRange({ kind: "latest", count: this.visibleCount() });
      return;
    }
    const from = this.axis.startAt(Math.max(0, Math.round(range.from)));
    const to = this.axis.startAt(Math.max(0, Math.round(range.to)));
    if (from !== null && to !== null) this.options.onRange({ kind: "span", from, to });
  }

  private tellLayout(): void {
    requestAnimationFrame(() => {
      const tops: number[] = [];
      let top = 0;
      for (const pane of this.chart.panes()) {
        tops.push(top);
        top += pane.getHeight() + 1;
      }
      if (this.container.isConnected) this.options.onLayout(tops);
    });
  }

  private tickLabel(key: number, kind: TickMarkType): string {
    const start = this.axis.start(key);
    if (kind === TickMarkType.Year || kind === TickMarkType.Month) return month(start, this.zone);
    if (kind === TickMarkType.DayOfMonth) return day(start, this.zone);
    return clock(start, this.zone, kind === TickMarkType.TimeWithSeconds);
  }
}

/** The longest run of bars at the end whose ordinals have no hole, with the open bar if it joins on. */
function contiguous(view: View): (Bar | Forming)[] {
  const bars: (Bar | Forming)[] = [...view.bars];
  let begin = bars.length - 1;
  while (begin > 0 && (bars[begin - 1] as Bar).ordinal === (bars[begin] as Bar).ordinal - 1) begin -= 1;
  const run = begin > 0 ? bars.slice(begin) : bars;
  const last = run.at(-1);
  if (view.forming && (!last || view.forming.ordinal === last.ordinal + 1)) run.push(view.forming);
  return run;
}
