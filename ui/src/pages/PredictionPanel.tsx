import { UnstyledButton } from "@mantine/core";
import type { Summary } from "../api/types";
import { count, duration, percent, signed } from "../format/number";
import { clock, day, full } from "../format/time";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";
import { outcomeClass, probability, side, verdict } from "../live/verdict";
import type { Call } from "../live/view";
import { VerdictMark } from "../parts/icons";
import { Notice } from "../parts/Notice";
import { Status } from "../parts/Status";
import { VirtualRows } from "../parts/VirtualRows";
import type { Change } from "./StreamPage";
import type { Selection } from "./selection";

interface PredictionPanelProps {
  store: LiveStore;
  selection: Selection;
  models: string[];
  model: string | null;
  zone: { zone: string; label: string };
  change: Change;
}

const ROW = 24;
const NONE: readonly Call[] = [];

export function PredictionPanel({ store, selection, models, model, zone, change }: PredictionPanelProps) {
  const calls = useSlice(store, (s) => (model === null ? NONE : (s.view.calls.get(model) ?? NONE)));
  const summaries = useSlice(store, (s) => s.view.summaries);
  if (!selection.deployment) {
    return (
      <section className="panel">
        <Notice
          kind="empty"
          title="No predictions chosen"
          text="Choose a deployment above to see its predictions beside their bars. One appears there once a model is bound to this stream and interval."
        />
      </section>
    );
  }
  const latest = calls.at(-1);
  return (
    <>
      <section className="panel" aria-labelledby="latest">
        <header className="panel-head">
          <h2 id="latest">Latest prediction</h2>
          <span className="faint">{model}</span>
        </header>
        {selection.deployment.status === "running" ? null : (
          <p className="panel-note">
            The deployment's worker is <Status status={selection.deployment.status} />
          </p>
        )}
        {latest ? (
          <Latest call={latest} zone={zone} />
        ) : (
          <p className="panel-note dim">None yet: the first comes when the next bar closes.</p>
        )}
      </section>
      <section className="panel" aria-labelledby="scores">
        <header className="panel-head">
          <h2 id="scores">Scores against the base rate</h2>
        </header>
        {models.map((name) => (
          <Scores
            key={name}
            model={name}
            summary={summaries.find((one) => one.model === name) ?? null}
            chosen={name === model}
            onChoose={models.length > 1 ? () => change({ model: name }) : null}
          />
        ))}
      </section>
      <section className="panel panel-fill" aria-labelledby="recent">
        <header className="panel-head">
          <h2 id="recent">Recent predictions</h2>
          <span className="faint">{calls.length ? count(calls.length) : ""}</span>
        </header>
        <Recent calls={calls} zone={zone.zone} change={change} />
      </section>
    </>
  );
}

function outcomeText(call: Call): string {
  if (!call.outcome) return "–";
  const came = outcomeClass(call.outcome, call.prediction.length);
  return came === null ? (call.outcome[0] ?? Number.NaN).toPrecision(3) : String(came);
}

function Latest({ call, zone }: { call: Call; zone: { zone: string; label: string } }) {
  const p = probability(call.prediction);
  const result = verdict(call);
  return (
    <div className="latest">
      <div className="latest-p">
        <span className="latest-value" data-testid="latest-p">
          {p.toFixed(3)}
        </span>
        <span className={`latest-verdict text-${result}`}>
          <VerdictMark verdict={result} /> {result}
        </span>
      </div>
      <div className="gauge" aria-hidden>
        <span className="gauge-half" />
        <span
          className="gauge-fill"
          style={{ left: `${Math.min(p, 0.5) * 100}%`, width: `${Math.abs(p - 0.5) * 100}%` }}
        />
        <span className="gauge-dot" style={{ left: `${p * 100}%` }} />
      </div>
      <dl className="facts">
        <dt>says</dt>
        <dd>class {side(call.prediction)}</dd>
        <dt>bar</dt>
        <dd>{full(Date.parse(call.bar_start), zone.zone)}</dd>
        <dt>published after</dt>
        <dd>{duration(call.latency_ms)}</dd>
      </dl>
    </div>
  );
}

interface ScoresProps {
  model: string;
  summary: Summary | null;
  chosen: boolean;
  onChoose: (() => void) | null;
}

function Scores({ model, summary, chosen, onChoose }: ScoresProps) {
  return (
    <div className="scores">
      {onChoose ? (
        <UnstyledButton className="scores-model" aria-pressed={chosen} onClick={onChoose}>
          {model} {chosen ? <span className="tag">shown</span> : null}
        </UnstyledButton>
      ) : null}
      {summary ? (
        <>
          <table className="grid grid-tight" data-testid="scores">
            <thead>
              <tr>
                <th>
                  <span className="hidden">Measure</span>
                </th>
                <th className="num">Model</th>
                <th className="num">Base rate</th>
                <th className="num">Difference</th>
              </tr>
            </thead>
            <tbody>
              <tr>
                <th scope="row">Accuracy</th>
                <td className="num">{percent(summary.accuracy)}</td>
                <td className="num">{percent(summary.base_rate_accuracy)}</td>
                <Difference
                  value={gap(summary.accuracy, summary.base_rate_accuracy, 100)}
                  digits={1}
                  unit=" pp"
                  more="better"
                />
              </tr>
              <tr>
                <th scope="row">Brier</th>
                <td className="num">{summary.brier?.toFixed(4) ?? "–"}</td>
                <td className="num">{summary.base_rate_brier?.toFixed(4) ?? "–"}</td>
                <Difference value={gap(summary.brier, summary.base_rate_brier, 1)} digits={4} unit="" more="worse" />
              </tr>
              <tr>
                <th scope="row">Accuracy, last 50</th>
                <td className="num">{percent(summary.recent_accuracy)}</td>
                <td />
                <td />
              </tr>
            </tbody>
          </table>
          <p className="panel-note">
            <b>{count(summary.scored)}</b> scored, <b>{count(summary.pending)}</b> pending
          </p>
        </>
      ) : (
        <p className="panel-note dim">Nothing scored yet: a score comes when a prediction's outcome is known.</p>
      )}
    </div>
  );
}

function gap(value: number | null, base: number | null, factor: number): number | null {
  return value === null || base === null ? null : (value - base) * factor;
}

function Difference({
  value,
  digits,
  unit,
  more,
}: {
  value: number | null;
  digits: number;
  unit: string;
  more: "better" | "worse";
}) {
  if (value === null) return <td className="num">–</td>;
  const none = Number(value.toFixed(digits)) === 0;
  const better = value > 0 === (more === "better");
  const word = none ? "equal" : better ? "better" : "worse";
  return (
    <td className={`num ${none ? "" : better ? "up" : "down"}`} title={word}>
      {signed(value, digits)}
      {unit} <span aria-hidden>{none ? "=" : better ? "▲" : "▼"}</span>
      <span className="hidden">{word}</span>
    </td>
  );
}

function Recent({ calls, zone, change }: { calls: readonly Call[]; zone: string; change: Change }) {
  if (calls.length === 0) return <p className="panel-note dim">They are listed here as they come.</p>;
  return (
    <>
      <div className="row row-head call-row" aria-hidden>
        <span>Bar</span>
        <span className="num">p</span>
        <span className="num">Outcome</span>
        <span>Result</span>
      </div>
      <VirtualRows
        count={calls.length}
        height={ROW}
        label={`${calls.length} predictions, newest first`}
        row={(place) => {
          const call = calls[calls.length - 1 - place] as Call;
          const result = verdict(call);
          const start = Date.parse(call.bar_start);
          return (
            <button
              type="button"
              key={call.ordinal}
              className="row call-row"
              title="List the ticks of this bar"
              onClick={() => change({ bar: call.ordinal })}
            >
              <span>
                <span className="faint">{day(start, zone).slice(4)}</span>{" "}
                {clock(start, zone, !call.interval.endsWith("minute"))}
              </span>
              <span className="num">{probability(call.prediction).toFixed(3)}</span>
              <span className="num">{outcomeText(call)}</span>
              <span className={`text-${result}`}>
                <VerdictMark verdict={result} /> {result}
              </span>
            </button>
          );
        }}
      />
    </>
  );
}
