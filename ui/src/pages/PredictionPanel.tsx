import { UnstyledButton } from "@mantine/core";
import type { Summary } from "../api/types";
import { outcomeText, saidText } from "../format/call";
import { count, duration, figure, percent, signed } from "../format/number";
import { clock, day, full } from "../format/time";
import type { LiveStore } from "../live/store";
import { useSlice } from "../live/use-live";
import { probability, saysNumbers, side, verdict } from "../live/verdict";
import { barOf, type Call } from "../live/view";
import { VerdictMark } from "../parts/icons";
import { Notice } from "../parts/Notice";
import { Status } from "../parts/Status";
import { VirtualRows } from "../parts/VirtualRows";
import type { Change } from "./StreamPage";
import type { Selection } from "./selection";
import { shortInterval } from "./Toolbar";

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
          text="Choose a deployment above to see its predictions beside their bars. One appears there once a model is bound to this stream."
        />
      </section>
    );
  }
  const latest = calls.at(-1);
  const numbers = saysNumbers(calls);
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
          <Latest call={latest} numbers={numbers} zone={zone} shown={selection.interval} />
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
        <Recent
          calls={calls}
          numbers={numbers}
          zone={zone.zone}
          onPick={(call) => change({ bar: barOf(store.view, call.index)?.ordinal })}
        />
      </section>
    </>
  );
}

interface LatestProps {
  call: Call;
  numbers: boolean;
  zone: { zone: string; label: string };
  /** Interval of the chart's bars. */
  shown: string;
}

function Latest({ call, numbers, zone, shown }: LatestProps) {
  const result = verdict(call, numbers);
  return (
    <div className="latest">
      <div className="latest-p">
        <span className="latest-value" data-testid="latest-p">
          {saidText(call, numbers)}
        </span>
        <span className={`latest-verdict text-${result}`}>
          <VerdictMark verdict={result} /> {result}
        </span>
      </div>
      {numbers ? null : <Gauge p={probability(call.prediction)} />}
      <dl className="facts">
        <dt>{numbers ? "came" : "says"}</dt>
        <dd>{numbers ? outcomeText(call, numbers) : `class ${side(call.prediction)}`}</dd>
        <dt>bar</dt>
        <dd>
          {full(Date.parse(call.bar_start), zone.zone)}
          {call.interval === shown ? "" : `, ${shortInterval(call.interval)}`}
        </dd>
        <dt>published after</dt>
        <dd>{duration(call.latency_ms)}</dd>
        {call.over_gap ? (
          <>
            <dt>inputs</dt>
            <dd>reach over a hole in the feed</dd>
          </>
        ) : null}
      </dl>
    </div>
  );
}

function Gauge({ p }: { p: number }) {
  return (
    <div className="gauge" aria-hidden>
      <span className="gauge-half" />
      <span
        className="gauge-fill"
        style={{ left: `${Math.min(p, 0.5) * 100}%`, width: `${Math.abs(p - 0.5) * 100}%` }}
      />
      <span className="gauge-dot" style={{ left: `${p * 100}%` }} />
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
            {summary.regression ? <OfNumbers found={summary.regression} /> : <OfClasses found={summary} />}
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

function OfClasses({ found }: { found: Summary }) {
  return (
    <tbody>
      <tr>
        <th scope="row">Accuracy</th>
        <td className="num">{percent(found.accuracy)}</td>
        <td className="num">{percent(found.base_rate_accuracy)}</td>
        <Difference value={gap(found.accuracy, found.base_rate_accuracy, 100)} digits={1} unit=" pp" more="better" />
      </tr>
      <tr>
        <th scope="row">Brier</th>
        <td className="num">{found.brier?.toFixed(4) ?? "–"}</td>
        <td className="num">{found.base_rate_brier?.toFixed(4) ?? "–"}</td>
        <Difference value={gap(found.brier, found.base_rate_brier, 1)} digits={4} unit="" more="worse" />
      </tr>
      <tr>
        <th scope="row">Accuracy, last 50</th>
        <td className="num">{percent(found.recent_accuracy)}</td>
        <td />
        <td />
      </tr>
    </tbody>
  );
}

function OfNumbers({ found }: { found: NonNullable<Summary["regression"]> }) {
  const { rmse, base_rmse: base, sign_accuracy: sign, base_sign_accuracy: often } = found;
  return (
    <tbody>
      <tr>
        <th scope="row">RMSE</th>
        <td className="num">{figure(rmse, 3)}</td>
        <td className="num">{figure(base, 3)}</td>
        <Difference value={base > 0 ? (rmse / base - 1) * 100 : null} digits={1} unit=" %" more="worse" />
      </tr>
      <tr>
        <th scope="row">Sign right</th>
        <td className="num">{percent(sign)}</td>
        <td className="num">{percent(often)}</td>
        <Difference value={gap(sign, often, 100)} digits={1} unit=" pp" more="better" />
      </tr>
      <tr>
        <th scope="row">Correlation</th>
        <td className="num">{signed(found.correlation, 3)}</td>
        <td />
        <td />
      </tr>
    </tbody>
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

interface RecentProps {
  calls: readonly Call[];
  numbers: boolean;
  zone: string;
  onPick: (call: Call) => void;
}

function Recent({ calls, numbers, zone, onPick }: RecentProps) {
  if (calls.length === 0) return <p className="panel-note dim">They are listed here as they come.</p>;
  const kind = numbers ? "call-row of-numbers" : "call-row";
  return (
    <>
      <div className={`row row-head ${kind}`} aria-hidden>
        <span>Bar</span>
        <span className="num">{numbers ? "Value" : "p"}</span>
        <span className="num">Outcome</span>
        <span>{numbers ? "" : "Result"}</span>
      </div>
      <VirtualRows
        count={calls.length}
        height={ROW}
        label={`${calls.length} predictions, newest first`}
        row={(place) => {
          const call = calls[calls.length - 1 - place] as Call;
          const result = verdict(call, numbers);
          const start = Date.parse(call.bar_start);
          return (
            <button
              type="button"
              key={call.ordinal}
              className={`row ${kind}`}
              title="List the ticks of this bar"
              onClick={() => onPick(call)}
            >
              <span>
                <span className="faint">{day(start, zone).slice(4)}</span>{" "}
                {clock(start, zone, !call.interval.endsWith("minute"))}
              </span>
              <span className="num clip">{saidText(call, numbers, 3)}</span>
              <span className="num clip">{outcomeText(call, numbers, 3)}</span>
              <span className={`text-${result}`}>
                <VerdictMark verdict={result} /> {numbers ? "" : result}
              </span>
            </button>
          );
        }}
      />
    </>
  );
}
