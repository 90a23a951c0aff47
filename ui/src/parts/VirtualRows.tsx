import { type ReactNode, useLayoutEffect, useRef, useState } from "react";

interface VirtualRowsProps {
  count: number;
  height: number;
  label: string;
  /** Render the row at a place; it must be `height` pixels high. */
  row: (place: number) => ReactNode;
}

const OVERSCAN = 8;

/** A long list of equally high rows, of which only those in sight are in the document. */
export function VirtualRows({ count, height, label, row }: VirtualRowsProps) {
  const box = useRef<HTMLElement>(null);
  const [span, setSpan] = useState({ top: 0, height: 400 });
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    const measure = () => setSpan({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  const first = Math.max(0, Math.floor(span.top / height) - OVERSCAN);
  const last = Math.min(count, Math.ceil((span.top + span.height) / height) + OVERSCAN);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
    <section ref={box} className="rows" aria-label={label} tabIndex={0}>
      <div style={{ height: count * height, position: "relative" }}>
        <div style={{ position: "absolute", insetInline: 0, top: first * height }}>
          {Array.from({ length: Math.max(0, last - first) }, (_, offset) => row(first + offset))}
        </div>
      </div>
    </section>
  );
}
