const MINUS = "\u2212";

export function price(value: number): string {
  return value.toFixed(Math.abs(value) < 1 ? 4 : 2).replace("-", MINUS);
}

export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return `${value < 0 ? MINUS : "+"}${text}`;
}

/** A predicted number, of any size. */
export function figure(value: number, digits = 4): string {
  return value.toPrecision(digits).replaceAll("-", MINUS);
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Quantities: exact up to five digits, then 123.4K, 1.2M. */
export function quantity(value: number): string {
  return value < 100_000 ? whole.format(value) : short.format(value);
}

export function count(value: number): string {
  return whole.format(value);
}

export function percent(share: number | null, digits = 1): string {
  return share === null ? "–" : `${(share * 100).toFixed(digits)} %`;
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}
