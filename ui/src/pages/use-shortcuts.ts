import { type RefObject, useEffect } from "react";
import type { LiveChart } from "../chart/live-chart";

/** What uses these keys itself. */
const OTHERS = "input, select, textarea, [role=menu], [role=dialog], [role=radiogroup]";

/** Arrows pan, + and − zoom, End goes to the latest bar, Escape closes the ticks, ? lists the keys. */
export function useShortcuts(chart: RefObject<LiveChart | null>, onEscape: () => void, onHelp: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest(OTHERS)) return;
      if (event.key === "Escape") return onEscape();
      if (target.closest(".rows")) return; // a list scrolls by the arrows itself
      if (event.key === "ArrowLeft") chart.current?.move({ pan: event.shiftKey ? -0.5 : -0.1 });
      else if (event.key === "ArrowRight") chart.current?.move({ pan: event.shiftKey ? 0.5 : 0.1 });
      else if (event.key === "+" || event.key === "=") chart.current?.move({ zoom: 0.8 });
      else if (event.key === "-") chart.current?.move({ zoom: 1.25 });
      else if (event.key === "End") chart.current?.jumpToLatest();
      else if (event.key === "?") onHelp();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [chart, onEscape, onHelp]);
}
