"""`lit up` and `lit status`: the whole of LIT on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("status")(status)


def up(
    workers: Annotated[bool, typer.Option(help="run the workers that the teams' files ask for")] = True,
) -> None:
    """Start broker, store, API, page and workers; Ctrl-C stops all of it in order."""
    import gc

    from lit.api.server import running
    from lit.logs import configure
    from lit.settings import Settings
    from lit.signals import halting

    settings = Settings()
    configure(settings)
    with halting() as stop, running(settings, supervise=workers) as server:
        if not server.started_here:
            typer.echo(f"LIT runs already: {server.login_url}")
            return
        gc.collect()
        gc.freeze()  # else full collections, through all that was imported, stop what goes to live clients
        typer.echo(f"LIT is at {server.login_url}  (Ctrl-C ends it)")
        stop.wait()
        typer.echo("Ending …", err=True)


def status(as_json: Annotated[bool, typer.Option("--json", help="the server's own answer")] = False) -> None:
    """Show what runs; exit code 1 if nothing does."""
    import httpx

    from lit.cli.stream_view import stream_sentence
    from lit.settings import Settings
    from lit.streams.errors import FaultError
    from lit.streams.store_open import running_server

    settings = Settings()
    found = running_server(settings.data)
    if found is None:
        raise FaultError(f"LIT does not run over {settings.data.resolve()}: `lit up` starts it")
    url, token = found
    try:
        answer = httpx.get(
            f"{url}/api/status", headers={"Authorization": f"Bearer {token}"}, timeout=15, trust_env=False
        )
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise FaultError(f"LIT at {url} does not answer: {error}") from error
    if as_json:
        typer.echo(answer.text)
        return
    what = answer.json()
    typer.echo(f"server  {url}")
    typer.echo(f"broker  {what['broker']['bootstrap']}{'' if what['broker']['reachable'] else '  does not answer'}")
    for worker in what["workers"]:
        note = f"  {worker['last_error']}" if worker["last_error"] else ""
        typer.echo(
            f"{worker['status']:<8} {worker['name']}  restarts {worker['restarts']}  since {worker['since']}{note}"
        )
        if worker["role"] == "stream" and (said := stream_sentence(settings.data, worker["name"])):
            typer.echo(f"         {said}")
        if worker["role"] == "deployment":
            typer.echo(f"         {_health(url, token, worker['name'])}")


def _health(url: str, token: str, worker: str) -> str:
    """Return a deployment's lag, latency and alerts as a line."""
    import httpx

    team, _, name = worker.partition("/deployment.")
    address = f"{url}/api/teams/{team}/deployments/{name}/health"
    try:
        answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"}, timeout=15, trust_env=False)
        found = answer.raise_for_status().json()
    except httpx.HTTPError:
        return "its health is not known"
    p50, p99 = (found[key] for key in ("latency_ms_p50", "latency_ms_p99"))
    latency = f", latency {p50:.0f} ms (p99 {p99:.0f})" if p50 is not None else ""
    alerts = "".join(f", {one['rule']} of {one['subject']}" for one in found["standing"])
    return f"lag {found['lag']} messages{latency}, last prediction {found['last_prediction'] or 'none yet'}{alerts}"
