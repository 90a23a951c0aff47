import { Button, Skeleton } from "@mantine/core";
import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import { Link, useParams } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { queries } from "../api/queries";
import type { Deployment, Stream } from "../api/types";
import { Notice } from "../parts/Notice";
import { Status } from "../parts/Status";
import { DEFAULT_SEARCH } from "../search";

export function TeamPage() {
  const { team } = useParams({ from: "/shell/t/$team" });
  const streams = useQuery(queries.streams(team));
  const deployments = useQuery(queries.deployments(team));
  return (
    <main className="page">
      <section aria-labelledby="streams">
        <h1 id="streams">Streams</h1>
        <List query={streams} empty={<NoStreams />}>
          {(rows) => <StreamRows team={team} rows={rows} />}
        </List>
      </section>
      <section aria-labelledby="deployments">
        <h2 id="deployments">Deployments</h2>
        <List query={deployments} empty={<NoDeployments />}>
          {(rows) => <DeploymentRows team={team} rows={rows} />}
        </List>
      </section>
    </main>
  );
}

interface ListProps<T> {
  query: UseQueryResult<T[]>;
  empty: ReactNode;
  children: (rows: T[]) => ReactNode;
}

function List<T>({ query, empty, children }: ListProps<T>) {
  if (query.data) return query.data.length ? children(query.data) : empty;
  if (query.error) {
    const retry = <Button onClick={() => void query.refetch()}>Try again</Button>;
    return <Notice kind="error" title="The list could not be loaded" error={query.error} action={retry} />;
  }
  return (
    <div role="status" aria-label="Loading">
      {[0, 1, 2].map((row) => (
        <Skeleton key={row} height={30} mb={6} />
      ))}
    </div>
  );
}

function StreamRows({ team, rows }: { team: string; rows: Stream[] }) {
  return (
    <div className="scroller">
      <table className="grid">
        <thead>
          <tr>
            <th>Name</th>
            <th>Adapter</th>
            <th>Symbols</th>
            <th>Status</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((stream) => (
            <tr key={stream.name}>
              <td>
                <Link to="/t/$team/streams/$stream" params={{ team, stream: stream.name }} search={DEFAULT_SEARCH}>
                  {stream.name}
                </Link>
              </td>
              <td>{stream.adapter ?? <span className="faint">topic only</span>}</td>
              <td className="wrap">{stream.symbols.join(", ") || <span className="faint">none yet</span>}</td>
              <td>
                <Status status={stream.status} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function DeploymentRows({ team, rows }: { team: string; rows: Deployment[] }) {
  return (
    <div className="scroller">
      <table className="grid">
        <thead>
          <tr>
            <th>Name</th>
            <th>Stream</th>
            <th>Interval</th>
            <th>Symbol</th>
            <th>Models</th>
            <th>Status</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.name}>
              <td>
                <Link
                  to="/t/$team/streams/$stream"
                  params={{ team, stream: row.stream }}
                  search={{
                    ...DEFAULT_SEARCH,
                    deployment: row.name,
                    interval: row.interval,
                  }}
                >
                  {row.name}
                </Link>
              </td>
              <td>{row.stream}</td>
              <td>{row.interval}</td>
              <td>{row.ticker ?? "all"}</td>
              <td className="wrap">{row.models.join(", ")}</td>
              <td>
                <Status status={row.status} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NoStreams() {
  return (
    <Notice
      kind="empty"
      title="No stream yet"
      text={
        <>
          Replay recorded ticks into one: <code>lit replay FILES --stream NAME</code>
        </>
      }
    />
  );
}

function NoDeployments() {
  return (
    <Notice
      kind="empty"
      title="No deployment yet"
      text="A deployment binds models of the vault to a stream and publishes their predictions."
    />
  );
}
