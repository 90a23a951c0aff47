import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { queries } from "../api/queries";
import { Notice } from "../parts/Notice";

export function TeamsPage() {
  const { data } = useQuery(queries.teams());
  if (data?.length === 0) {
    return (
      <main className="page">
        <Notice
          kind="empty"
          title="No team yet"
          text={
            <>
              A team begins with its first stream: run <code>lit demo</code>, or replay files with{" "}
              <code>lit replay FILES --stream NAME --team TEAM</code>.
            </>
          }
        />
      </main>
    );
  }
  return (
    <main className="page">
      <h1>Teams</h1>
      <ul className="cards">
        {data?.map((team) => (
          <li key={team}>
            <Link to="/t/$team" params={{ team }} className="card">
              {team}
            </Link>
          </li>
        ))}
      </ul>
    </main>
  );
}
