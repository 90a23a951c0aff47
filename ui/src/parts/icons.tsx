import type { ReactNode } from "react";
import type { Verdict } from "../live/verdict";

/** A drawing beside or instead of a word; the control that holds it has the name. */
function Icon({ children }: { children: ReactNode }) {
  return (
    <svg
      width={16}
      height={16}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth={1.4}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  );
}

export const Sun = () => (
  <Icon>
    <circle cx="8" cy="8" r="3" />
    <path d="M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M3 13l1.1-1.1M11.9 4.1 13 3" />
  </Icon>
);
export const Moon = () => (
  <Icon>
    <path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z" />
  </Icon>
);
export const Screen = () => (
  <Icon>
    <rect x="1.5" y="2.5" width="13" height="8.5" rx="1" />
    <path d="M6 13.5h4" />
  </Icon>
);
export const Cross = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
);
export const ToEnd = () => (
  <Icon>
    <path d="m3 4 4 4-4 4M8 4l4 4-4 4M14 4v8" />
  </Icon>
);

/** The shapes of the prediction pane, for tables and legends. */
export function VerdictMark({ verdict }: { verdict: Verdict }) {
  return (
    <svg width={11} height={11} viewBox="0 0 11 11" className={`mark mark-${verdict}`} role="img" aria-label={verdict}>
      {verdict === "right" || verdict === "known" ? <circle cx="5.5" cy="5.5" r="3.5" fill="currentColor" /> : null}
      {verdict === "wrong" ? <path d="m2 2 7 7M9 2 2 9" stroke="currentColor" strokeWidth="1.7" /> : null}
      {verdict === "pending" ? (
        <circle cx="5.5" cy="5.5" r="3.2" fill="none" stroke="currentColor" strokeWidth="1.5" />
      ) : null}
    </svg>
  );
}
