export interface Placed {
  start: string;
  ordinal: number;
  first_index: number;
  last_index: number;
}

/**
 * The chart wants ascending, unique times in whole seconds; bars of ticks, volume or dollars may begin in the same
 * second. So each bar gets a key: its second, or one more than the bar before if that is taken. Keys place bars and are
 * never shown: labels come from the bar's own start.
 */
export class Axis {
  private keys: number[] = [];
  private starts: number[] = [];
  /** Index of each bar's first and last tick. */
  private firsts: number[] = [];
  private lasts: number[] = [];
  private firstOrdinal = 0;

  /** Index of the first bar's first tick. */
  get firstIndex(): number {
    return this.firsts[0] ?? 0;
  }

  get size(): number {
    return this.keys.length;
  }

  reset(bars: readonly Placed[]): void {
    this.keys = [];
    this.starts = [];
    this.firsts = [];
    this.lasts = [];
    this.firstOrdinal = bars[0]?.ordinal ?? 0;
    for (const bar of bars) this.put(bar);
  }

  /** Return the bar's key; a bar of the next ordinal grows the axis, a known one keeps its key. */
  put(bar: Placed): number {
    if (this.keys.length === 0) this.firstOrdinal = bar.ordinal;
    const place = bar.ordinal - this.firstOrdinal;
    const known = this.keys[place];
    if (known !== undefined) {
      this.lasts[place] = bar.last_index; // an open bar grows
      return known;
    }
    if (place !== this.keys.length) throw new RangeError(`bar ${bar.ordinal} does not follow the bars before it`);
    const start = Date.parse(bar.start);
    const key = Math.max(Math.floor(start / 1000), (this.keys.at(-1) ?? Number.NEGATIVE_INFINITY) + 1);
    this.keys.push(key);
    this.starts.push(start);
    this.firsts.push(bar.first_index);
    this.lasts.push(bar.last_index);
    return key;
  }

  /** Key of a bar by ordinal. */
  key(ordinal: number): number | null {
    return this.keys[ordinal - this.firstOrdinal] ?? null;
  }

  /** Key of the bar that holds a tick, or else of the first one behind it; null before the first bar or past the last. */
  keyAt(index: number): number | null {
    if (index < this.firstIndex) return null;
    return this.keys[placeIn(this.lasts, index - 1)] ?? null;
  }

  ordinalAt(place: number): number | null {
    return place >= 0 && place < this.keys.length ? this.firstOrdinal + place : null;
  }

  /** Start in ms of the bar with this key; a key between bars counts as the instant itself. */
  start(key: number): number {
    const place = this.find(key);
    return place === null ? key * 1000 : (this.starts[place] as number);
  }

  /** Place of the last bar that begins at or before an instant, in ms; -1 if none does. */
  placeOf(ms: number): number {
    return placeIn(this.starts, ms) - 1;
  }

  startAt(place: number): number | null {
    return this.starts[place] ?? null;
  }

  private find(key: number): number | null {
    let low = 0;
    let high = this.keys.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const value = this.keys[middle] as number;
      if (value === key) return middle;
      if (value < key) low = middle + 1;
      else high = middle - 1;
    }
    return null;
  }
}

/** How many of ascending numbers are at or below a bound. */
function placeIn(ascending: readonly number[], bound: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) <= bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
