import { Button } from "@mantine/core";
import { useEffect, useState } from "react";
import { count } from "../format/number";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";

/** Tells of a lost connection, and of updates that were merged since this page was too slow. */
export function LinkBanner({ store }: { store: LiveStore }) {
  const link = useSlice(store, (s) => s.link);
  const merged = useSlice(store, (s) => s.view.merged);
  if (link.state === "lost") {
    return (
      <div className="banner banner-lost" role="alert">
        <span>
          <strong>Connection lost.</strong> What you see may be out of date. <Countdown until={link.retryAt} />
        </span>
        <Button size="compact-xs" variant="white" color="dark" onClick={() => store.retryNow()}>
          Try now
        </Button>
      </div>
    );
  }
  if (link.state === "refused") {
    return (
      <div className="banner banner-lost" role="alert">
        <span>
          <strong>Nothing to show:</strong> {link.detail}.
        </span>
        <Button size="compact-xs" variant="white" color="dark" onClick={() => store.retryNow()}>
          Try again
        </Button>
      </div>
    );
  }
  if (merged > 0) {
    return (
      <div className="banner banner-merged" role="status">
        <span>This page could not keep up: {count(merged)} updates were merged into a fresh picture.</span>
        <Button size="compact-xs" variant="subtle" color="gray" onClick={() => store.forgetMerged()}>
          Dismiss
        </Button>
      </div>
    );
  }
  return null;
}

export function LinkState({ store }: { store: LiveStore }) {
  const link = useSlice(store, (s) => s.link);
  const [tone, text] =
    link.state === "live"
      ? ["good", "Live"]
      : link.state === "connecting"
        ? ["busy", "Connecting"]
        : ["bad", "Offline"];
  return <span className={`status status-${tone} link-state`}>{text}</span>;
}

function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 250);
    return () => window.clearInterval(timer);
  }, []);
  const seconds = Math.ceil((until - now) / 1000);
  return <>{seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again…"}</>;
}
