import { Button, Loader } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useEffect } from "react";
import { queries } from "../api/queries";
import type { Deployment, Stream } from "../api/types";
import { resolveZone } from "../format/time";
import type { LiveStore } from "../live/store";
import { useLive, useSlice } from "../live/use-live";
import { Notice } from "../parts/Notice";
import type { StreamSearch } from "../search";
import { ChartPanel } from "./ChartPanel";
import { LinkBanner } from "./LinkBanner";
import { PredictionPanel } from "./PredictionPanel";
import { type Selection, select } from "./selection";
import { TicksPanel } from "./TicksPanel";
import { Toolbar } from "./Toolbar";

export type Change = (change: Partial<StreamSearch>, options?: { replace: boolean }) => void;

export function StreamPage() {
  const { team, stream: name } = useParams({ from: "/shell/t/$team/streams/$stream" });
  const search = useSearch({ from: "/shell/t/$team/streams/$stream" });
  const streams = useQuery(queries.streams(team));
  const deployments = useQuery(queries.deployments(team));
  const failed = streams.error ?? deployments.error;
  if (!streams.data || !deployments.data) {
    if (!failed) return <Waiting text="Loading the stream" />;
    const retry = () => {
      void streams.refetch();
      void deployments.refetch();
    };
    return (
      <Notice
        kind="error"
        title="The stream could not be loaded"
        error={failed}
        action={<Button onClick={retry}>Try again</Button>}
      />
    );
  }
  const stream = streams.data.find((one) => one.name === name);
  if (!stream) {
    return <Notice kind="empty" title={`Team ${team} has no stream ${name}`} text="It may have been removed." />;
  }
  if (stream.kind === "output") return <Output stream={stream} />;
  const selection = select(search, stream, deployments.data);
  if (!selection) {
    return (
      <Notice
        kind="empty"
        title="No tick has arrived yet"
        text={
          <>
            This page starts by itself with the first one. To replay recorded ticks:{" "}
            <code>lit replay FILES --stream {name}</code>
          </>
        }
      />
    );
  }
  return <Selected team={team} stream={stream} deployments={deployments.data} selection={selection} search={search} />;
}

/** A stream that predicts on request has a page of its own, at its port. */
function Output({ stream }: { stream: Stream }) {
  const address = stream.status === "running" ? stream.health?.position : null;
  return (
    <Notice
      kind="empty"
      title={`${stream.name} predicts on request`}
      text={
        address ? (
          <>
            Its models are listed, and asked, at{" "}
            <a href={address} target="_blank" rel="noreferrer">
              {address}
            </a>
          </>
        ) : (
          "It does not run."
        )
      }
    />
  );
}

interface SelectedProps {
  team: string;
  stream: Stream;
  deployments: Deployment[];
  selection: Selection;
  search: StreamSearch;
}

function Selected({ team, stream, deployments, selection, search }: SelectedProps) {
  const navigate = useNavigate({ from: "/t/$team/streams/$stream" });
  const change: Change = useCallback(
    (part, options = { replace: false }) => {
      void navigate({ search: (old) => defined({ ...old, ...part }), replace: options.replace, resetScroll: false });
    },
    [navigate],
  );
  const { symbol, interval, deployment } = selection;
  const chosen = deployment?.name ?? "none";
  // The address says what is shown, defaults too, so that a copy of it shows the same.
  useEffect(() => {
    if (search.symbol === symbol && search.interval === interval && search.deployment === chosen) return;
    change({ symbol, interval, deployment: chosen }, { replace: true });
  }, [change, search, symbol, interval, chosen]);
  useEffect(() => {
    document.title = `${symbol} ${interval} – ${stream.name} – LIT`;
  }, [symbol, interval, stream.name]);

  const store = useLive({ team, stream: stream.name, symbol, interval, deployment: deployment?.name ?? null });
  const zone = resolveZone(search.zone, symbol);
  return (
    <>
      <Toolbar
        stream={stream}
        deployments={deployments}
        selection={selection}
        search={search}
        change={change}
        store={store}
      />
      {store ? (
        <Live
          team={team}
          stream={stream.name}
          selection={selection}
          search={search}
          change={change}
          store={store}
          zone={zone}
        />
      ) : (
        <Waiting text="Connecting" />
      )}
    </>
  );
}

interface LiveProps {
  team: string;
  stream: string;
  selection: Selection;
  search: StreamSearch;
  change: Change;
  store: LiveStore;
  zone: { zone: string; label: string };
}

function Live({ team, stream, selection, search, change, store, zone }: LiveProps) {
  const calls = useSlice(store, (s) => s.view.calls);
  const models = selection.deployment ? [...new Set([...selection.deployment.models, ...calls.keys()])] : [];
  const model = models.find((one) => one === search.model) ?? models.find((one) => calls.has(one)) ?? models[0] ?? null;
  const { symbol, interval, deployment } = selection;
  return (
    <main className="live">
      <LinkBanner store={store} />
      <ChartPanel
        key={`${symbol}/${interval}/${deployment?.name}`}
        store={store}
        selection={selection}
        search={search}
        change={change}
        model={model}
        zone={zone}
      />
      <aside className="side" aria-label="Details">
        {search.bar !== undefined ? (
          <TicksPanel team={team} stream={stream} store={store} ordinal={search.bar} zone={zone} change={change} />
        ) : (
          <PredictionPanel
            store={store}
            selection={selection}
            models={models}
            model={model}
            zone={zone}
            change={change}
          />
        )}
      </aside>
    </main>
  );
}

function Waiting({ text }: { text: string }) {
  return (
    <div className="waiting" role="status">
      <Loader size="sm" /> {text}…
    </div>
  );
}

function defined(search: Partial<StreamSearch>): StreamSearch {
  const kept = Object.entries(search).filter(([, value]) => value !== undefined);
  return Object.fromEntries(kept) as unknown as StreamSearch;
}
