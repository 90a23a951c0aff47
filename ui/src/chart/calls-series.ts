import type {
  CustomData,
  CustomSeriesOptions,
  CustomSeriesPricePlotValues,
  CustomSeriesWhitespaceData,
  ICustomSeriesPaneRenderer,
  ICustomSeriesPaneView,
  PaneRendererCustomData,
  PriceToCoordinateConverter,
  Time,
} from "lightweight-charts";
import { customSeriesDefaultOptions } from "lightweight-charts";
import type { Verdict } from "../live/verdict";

export interface CallPoint extends CustomData<Time> {
  p: number;
  verdict: Verdict;
}

export interface CallsOptions extends CustomSeriesOptions {
  right: string;
  wrong: string;
  pending: string;
  known: string;
  half: string;
  /** Where stems begin. */
  base: number;
}

type Target = Parameters<ICustomSeriesPaneRenderer["draw"]>[0];

/** Probabilities as stems from the 0.5 line, numbers from 0; a dot is right, a cross wrong, a ring pending. */
export class CallsSeries implements ICustomSeriesPaneView<Time, CallPoint, CallsOptions> {
  private data: PaneRendererCustomData<Time, CallPoint> | null = null;
  private options: CallsOptions = this.defaultOptions();

  renderer(): ICustomSeriesPaneRenderer {
    return { draw: (target, toY) => this.draw(target, toY) };
  }

  update(data: PaneRendererCustomData<Time, CallPoint>, options: CallsOptions): void {
    this.data = data;
    this.options = options;
  }

  priceValueBuilder(point: CallPoint): CustomSeriesPricePlotValues {
    return [point.p];
  }

  isWhitespace(point: CallPoint | CustomSeriesWhitespaceData<Time>): point is CustomSeriesWhitespaceData<Time> {
    return (point as Partial<CallPoint>).p === undefined;
  }

  defaultOptions(): CallsOptions {
    return { ...customSeriesDefaultOptions, right: "", wrong: "", pending: "", known: "", half: "", base: 0.5 };
  }

  private draw(target: Target, toY: PriceToCoordinateConverter): void {
    const data = this.data;
    if (!data) return;
    const half = toY(this.options.base);
    if (half === null) return;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: rx, verticalPixelRatio: ry }) => {
      context.fillStyle = this.options.half;
      context.fillRect(0, Math.round(half * ry), bitmapSize.width, Math.max(1, Math.floor(ry)));
      if (!data.visibleRange) return;
      const radius = Math.max(1, Math.min(4, data.barSpacing * 0.36)) * rx;
      const stem = Math.max(1, Math.floor(rx));
      for (let place = data.visibleRange.from; place < data.visibleRange.to; place += 1) {
        const bar = data.bars[place];
        if (!bar) continue;
        const y = toY(bar.originalData.p);
        if (y === null) continue;
        const colour = this.options[bar.originalData.verdict];
        const x = Math.round(bar.x * rx);
        const [top, bottom] = [Math.min(y, half) * ry, Math.max(y, half) * ry];
        context.fillStyle = colour;
        context.globalAlpha = 0.4;
        context.fillRect(x - Math.floor(stem / 2), top, stem, bottom - top);
        context.globalAlpha = 1;
        drawMark(context, bar.originalData.verdict, colour, x, y * ry, radius, rx);
      }
    });
  }
}

function drawMark(
  context: CanvasRenderingContext2D,
  verdict: Verdict,
  colour: string,
  x: number,
  y: number,
  radius: number,
  ratio: number,
): void {
  context.beginPath();
  context.strokeStyle = colour;
  context.lineWidth = Math.max(1, Math.min(1.6, radius / 2)) * ratio;
  if (verdict === "wrong") {
    context.moveTo(x - radius, y - radius);
    context.lineTo(x + radius, y + radius);
    context.moveTo(x + radius, y - radius);
    context.lineTo(x - radius, y + radius);
    context.stroke();
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
    if (verdict === "right" || verdict === "known") context.fill();
    else context.stroke();
  }
}
