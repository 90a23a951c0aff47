import type { Call } from "./view";

/** As many as the server gives at once. */
export const PAGE = 5000;

/**
 * Collect what was said at the ticks from `from` to before `before`, page by page from the newest. A page may begin
 * amid the models of a bar, so the next one asks for that tick again; it holds more than the models of one bar.
 */
export async function collect(
  ask: (before: number) => Promise<readonly Call[]>,
  from: number,
  before: number,
  size = PAGE,
): Promise<Call[]> {
  const found: Call[] = [];
  for (let bound = before; ; ) {
    const page = await ask(bound);
    found.push(...page.filter((call) => call.index >= from));
    const oldest = page[0]?.index;
    if (oldest === undefined || page.length < size || oldest < from || oldest + 1 >= bound) return found;
    bound = oldest + 1;
  }
}
