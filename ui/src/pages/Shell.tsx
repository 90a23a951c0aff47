import { Link, Outlet, useParams } from "@tanstack/react-router";
import { Logo } from "../parts/Logo";
import { SchemeButton } from "../parts/SchemeButton";

/** The bar at the top; pages fill the rest and put their own tools into the bar's middle (`#tools`). */
export function Shell() {
  const { team, stream } = useParams({ strict: false });
  return (
    <div className="shell">
      <header className="topbar">
        <Link to="/" className="home" aria-label="LIT, start">
          <Logo />
        </Link>
        <nav className="crumbs" aria-label="Where you are">
          {team ? (
            <Link to="/t/$team" params={{ team }} activeOptions={{ exact: true }}>
              {team}
            </Link>
          ) : null}
          {team && stream ? (
            <>
              <span aria-hidden>/</span>
              <h1 aria-current="page">{stream}</h1>
            </>
          ) : null}
        </nav>
        <div id="tools" className="tools" />
        <SchemeButton />
      </header>
      <Outlet />
    </div>
  );
}
