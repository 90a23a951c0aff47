"""What `lit stream` shows of streams: which there are, how they do, their gaps, the adapters that there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from pathlib import Path

    from lit.streams.live import Stream
    from lit.streams.live_health import Health
    from lit.streams.workspace import Workspace

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Name = Annotated[str, typer.Argument(help="a stream")]


def adapters(
    name: Annotated[str | None, typer.Argument(help="show this one's form")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List the stream adapters, or show the form of one."""
    from lit.streams.stream_adapters import read_stream_form
    from lit.streams.stream_files import list_adapters, unusable_adapters

    workspace = workspace_of(team)
    if name is not None:
        form = read_stream_form(workspace, name)
        if as_json:
            typer.echo(json.dumps({"summary": form.summary, "fields": [field.json() for field in form.fields]}))
            return
        typer.echo(form.summary)
        for field in form.fields:
            shown = (
                "required" if field.required else "optional" if field.default is None else f"default {field.default}"
            )
            kind = f"[{', '.join(field.choices)}]" if field.choices else field.kind
            kind = " ".join([kind, *(f"{sign} {limit:g}" for sign, limit in field.bounds)])
            typer.echo(f"  {field.name}: {kind}, {shown}\n      {field.help}")
        return
    found, unusable = list_adapters(workspace), unusable_adapters(workspace)
    if as_json:
        rows = [{"name": info.name, "kind": info.kind, "summary": info.form.summary} for info in found]
        typer.echo(json.dumps(rows))
        return
    for info in found:
        typer.echo(f"{info.name:<12} {info.kind:<7} {info.form.summary}")
    for error in unusable:
        typer.echo(f"not usable: {error}", err=True)


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's streams and how they do."""
    from lit.streams.errors import UserError

    workspace = workspace_of(team)
    found, broken = {}, []
    for name in workspace.names("streams"):
        try:
            found[name] = _seen(workspace, name)
        except UserError as error:  # one file that was changed by hand must not hide the others
            broken.append(str(error))
    for sentence in broken:
        typer.echo(f"not usable: {sentence}", err=True)
    if as_json:
        typer.echo(json.dumps([_row(workspace, name, *seen) for name, seen in found.items()]))
        return
    if not found and not broken:
        typer.echo("No streams yet: `lit stream new NAME ADAPTER --set …` makes one, `lit stream adapters` lists them.")
    for name, (stream, health) in found.items():
        typer.echo(f"{name:<16} {stream.adapter.name:<10} {_sentence(stream, health)}")


def show(name: Name, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show a stream: its parameters without secrets, and how it does."""
    workspace = workspace_of(team)
    stream, health = _seen(workspace, name)
    row = _row(workspace, name, stream, health)
    if as_json:
        typer.echo(json.dumps(row))
        return
    typer.echo(f"{name}: {stream.adapter.name}, {_sentence(stream, health)}")
    typer.echo(json.dumps(row["parameters"], indent=2, ensure_ascii=False))
    for reason, count in (row["health"] or {}).get("rejects", {}).items():
        typer.echo(f"in quarantine: {count:,} ({reason})")
    for gap in (row["health"] or {}).get("recent_gaps", []):
        typer.echo(_gap(gap))


def gaps(
    name: Name,
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List the gaps of the last week; `lit tail ticks.NAME` shows them among the ticks."""
    import msgspec

    from lit.sdk import streams

    found = [msgspec.structs.asdict(gap) for gap in streams.gaps(team, name, symbol)]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for gap in found:
        typer.echo(_gap(gap))
    if not found:
        typer.echo("no gap in the last week")


def stream_sentence(data: Path, worker: str) -> str | None:
    """Return how the stream of a worker (`team/stream.name`) does, in a line; None if its file is gone."""
    from lit.streams.errors import UserError
    from lit.streams.workspace import Workspace

    team, _, name = worker.partition("/stream.")
    try:
        return _sentence(*_seen(Workspace(data, team), name))
    except UserError:
        return None


def _seen(workspace: Workspace, name: str) -> tuple[Stream, Health | None]:
    from lit.streams.live import load_stream
    from lit.streams.live_health import read_health

    return load_stream(workspace, name), read_health(workspace, name)


def _row(workspace: Workspace, name: str, stream: Stream, health: Health | None) -> dict[str, Any]:
    import msgspec

    from lit.streams.stream_files import hidden_parameters

    return {
        "name": name,
        "adapter": stream.adapter.name,
        "enabled": stream.enabled,
        "intervals": stream.intervals,
        "features": stream.features,
        "parameters": hidden_parameters(workspace, stream),
        "health": None if health is None else msgspec.to_builtins(health),
    }


def _sentence(stream: Stream, health: Health | None) -> str:
    import time

    if health is None:
        return "never ran" if stream.enabled else "stopped"
    running = health.state in ("connecting", "live", "waiting", "paused")
    state = "not running" if running and health.stale(time.time()) else health.state
    error = f" ({health.last_error})" if health.last_error else ""
    if health.ticks == 0 and health.position and health.position.startswith("http"):
        return f"{state} at {health.position}{error}"
    lag = f", lag {health.lag_ms:,.0f} ms" if health.lag_ms is not None and state == "live" else ""
    return (
        f"{state}{'' if state == 'live' else error}: {health.ticks:,} ticks of {health.symbols} symbols{lag}, "
        f"{health.reconnects} reconnects, {health.gaps} gaps, {health.repeats:,} repeats, "
        f"{sum(health.rejects.values()):,} refused since it began"
    )


def _gap(gap: dict[str, Any]) -> str:
    missed = "an unknown number of" if gap["missed"] is None else f"{gap['missed']:,}"
    until = f" until {gap['until']}" if gap["until"] else ""
    where = f"{gap['symbol']} before tick {gap['before_index']}"
    return f"GAP {where} ({gap['reason']}): {missed} ticks missing since {gap['since']}{until}"
