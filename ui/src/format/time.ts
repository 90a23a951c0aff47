/** How times are shown. The instants stay UTC everywhere; a zone only changes their text. */
export type ZoneChoice = "utc" | "exchange" | "browser";

const EXCHANGES: Record<string, { zone: string; place: string }> = {};
for (const [suffixes, zone, place] of [
  ["N O OQ A P K Z B PK", "America/New_York", "New York"],
  ["TO V", "America/Toronto", "Toronto"],
  ["L", "Europe/London", "London"],
  ["PA AS BR LS", "Europe/Paris", "Paris"],
  ["DE F", "Europe/Berlin", "Frankfurt"],
  ["S VX", "Europe/Zurich", "Zurich"],
  ["MI", "Europe/Rome", "Milan"],
  ["MC", "Europe/Madrid", "Madrid"],
  ["T", "Asia/Tokyo", "Tokyo"],
  ["HK", "Asia/Hong_Kong", "Hong Kong"],
  ["AX", "Australia/Sydney", "Sydney"],
] as const) {
  for (const suffix of suffixes.split(" ")) EXCHANGES[suffix] = { zone, place };
}

/** The exchange that a RIC's suffix names, as `N` in `IBM.N`; null if we do not know it. */
export function exchangeOf(symbol: string): { zone: string; place: string } | null {
  const suffix = symbol.includes(".") ? symbol.slice(symbol.lastIndexOf(".") + 1) : "";
  return EXCHANGES[suffix] ?? null;
}

export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** IANA zone and label of a choice; an unknown exchange falls back to UTC and says so. */
export function resolveZone(choice: ZoneChoice, symbol: string): { zone: string; label: string } {
  if (choice === "browser") return { zone: browserZone(), label: `${browserZone()} (browser)` };
  if (choice === "exchange") {
    const exchange = exchangeOf(symbol);
    return exchange
      ? { zone: exchange.zone, label: `${exchange.place} (exchange)` }
      : { zone: "UTC", label: "UTC (exchange unknown)" };
  }
  return { zone: "UTC", label: "UTC" };
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = zone + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    formats.set(key, found);
  }
  return found;
}

export function clock(ms: number, zone: string, seconds: boolean): string {
  return format(zone, { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) }).format(ms);
}

/** As `13:30:05.125`. */
export function clockMs(ms: number, zone: string): string {
  return format(zone, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
  }).format(ms);
}

/** As `Mon 7 Oct`. */
export function day(ms: number, zone: string): string {
  return format(zone, { weekday: "short", day: "numeric", month: "short" }).format(ms).replace(",", "");
}

export function month(ms: number, zone: string): string {
  return format(zone, { month: "short", year: "numeric" }).format(ms);
}

/** As `Mon 7 Oct 2013 13:30:00`. */
export function full(ms: number, zone: string): string {
  const date = format(zone, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
  return `${date.format(ms).replace(",", "")} ${clock(ms, zone, true)}`;
}
