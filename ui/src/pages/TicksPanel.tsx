import { ActionIcon, Button, CopyButton, Loader } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../api/queries";
import type { Bar, Packet } from "../api/types";
import { count, price, quantity } from "../format/number";
import { clockMs, full } from "../format/time";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";
import { barAt } from "../live/view";
import { Cross } from "../parts/icons";
import { Notice } from "../parts/Notice";
import { VirtualRows } from "../parts/VirtualRows";
import type { Change } from "./StreamPage";

interface TicksPanelProps {
  team: string;
  stream: string;
  store: LiveStore;
  ordinal: number;
  zone: { zone: string; label: string };
  change: Change;
}

const MOST = 10_000;
const ROW = 24;

export function TicksPanel({ team, stream, store, ordinal, zone, change }: TicksPanelProps) {
  const bar = useSlice(store, (s) =>
    s.view.forming?.ordinal === ordinal ? s.view.forming : barAt(s.view.bars, ordinal),
  );
  const forming = useSlice(store, (s) => s.view.forming?.ordinal === ordinal);
  const close = () => change({ bar: undefined });
  return (
    <section className="panel panel-fill" aria-labelledby="ticks">
      <header className="panel-head">
        <h2 id="ticks">Ticks of the bar</h2>
        <ActionIcon variant="subtle" color="gray" size="sm" onClick={close} aria-label="Close the ticks">
          <Cross />
        </ActionIcon>
      </header>
      {bar ? (
        <>
          <p className="panel-note">
            {full(Date.parse(bar.start), zone.zone)} <span className="faint">{zone.label}</span>
            <br />
            {ticksText(bar.last_index - bar.first_index + 1)}
            {forming ? " so far" : ""}, index {bar.first_index} to {bar.last_index}
          </p>
          <Ticks team={team} stream={stream} bar={bar} zone={zone.zone} />
        </>
      ) : (
        <Notice kind="empty" title="This bar is not loaded" text="Scroll the chart to it, or close this list." />
      )}
    </section>
  );
}

function ticksText(ticks: number): string {
  return ticks === 1 ? "1 tick" : `${count(ticks)} ticks`;
}

function Ticks({ team, stream, bar, zone }: { team: string; stream: string; bar: Bar; zone: string }) {
  const last = Math.min(bar.last_index, bar.first_index + MOST - 1);
  const query = useQuery({
    ...queries.ticks(team, stream, bar.symbol, bar.first_index, last),
    placeholderData: (before) => (before?.[0]?.index === bar.first_index ? before : undefined),
  });
  const [picked, setPicked] = useState<number | null>(null);
  if (query.error && !query.data) {
    const retry = <Button onClick={() => void query.refetch()}>Try again</Button>;
    return <Notice kind="error" title="The ticks could not be loaded" error={query.error} action={retry} />;
  }
  if (!query.data) {
    return (
      <div className="waiting" role="status">
        <Loader size="sm" /> Loading ticks…
      </div>
    );
  }
  const ticks = query.data;
  const missing = last - bar.first_index + 1 - ticks.length;
  const packet = ticks.find((tick) => tick.index === picked) ?? null;
  return (
    <>
      {last < bar.last_index ? <p className="panel-note">The first {count(MOST)} are listed.</p> : null}
      {missing > 0 ? (
        <p className="panel-note" role="status">
          {count(missing)} are not in the store yet; this list is asked for again until they are.
        </p>
      ) : null}
      <div className="row row-head tick-row" aria-hidden>
        <span>Time</span>
        <span className="num">Price</span>
        <span className="num">Volume</span>
        <span>Qualifiers</span>
      </div>
      <VirtualRows
        count={ticks.length}
        height={ROW}
        label={ticksText(ticks.length)}
        row={(place) => {
          const tick = ticks[place] as Packet;
          return (
            <button
              type="button"
              key={tick.index}
              className="row tick-row"
              aria-pressed={tick.index === picked}
              onClick={() => setPicked(tick.index === picked ? null : tick.index)}
            >
              <span>{clockMs(Date.parse(tick["Date-Time"]), zone)}</span>
              <span className="num">{price(tick.Price)}</span>
              <span className="num">{quantity(tick.Volume)}</span>
              <span className="clip dim">{tick.Qualifiers ?? ""}</span>
            </button>
          );
        }}
      />
      {packet ? <PacketView packet={packet} /> : <p className="panel-note faint">Select a tick to see its packet.</p>}
    </>
  );
}

function PacketView({ packet }: { packet: Packet }) {
  const text = JSON.stringify(packet, null, 2);
  return (
    <div className="packet">
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="compact-xs" variant="default" onClick={copy}>
            {copied ? "Copied" : "Copy"}
          </Button>
        )}
      </CopyButton>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <pre tabIndex={0}>{text}</pre>
    </div>
  );
}
