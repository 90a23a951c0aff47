"""`lit stream`: live feeds and outputs, made and steered. A stream is a file of its team; the server runs it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lit.cli.stream_view import Name, Team, adapters, gaps, list_all, show

Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", help="parameter=value, as the adapter's form has it; lists and mappings as JSON; repeatable"),
]
Intervals = Annotated[
    list[str] | None, typer.Option("--interval", help="bars besides those of a minute, such as 5second; repeatable")
]

Features = Annotated[
    list[str] | None,
    typer.Option("--features", help="a schema whose features are published as they come; repeatable, '' for none"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Live feeds and outputs: files of the team that the server runs.")
    for name, command in (
        ("adapters", adapters),
        ("list", list_all),
        ("show", show),
        ("new", new),
        ("set", change),
        ("start", start),
        ("stop", stop),
        ("pause", pause),
        ("resume", resume),
        ("speed", speed),
        ("seek", seek),
        ("gaps", gaps),
        ("remove", remove),
    ):
        group.command(name)(command)
    app.add_typer(group, name="stream")


def new(
    name: Name,
    adapter: Annotated[str, typer.Argument(help="a stream adapter: `lit stream adapters` lists them")],
    parameters: Parameters = None,
    intervals: Intervals = None,
    features: Features = None,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="how many workers may share it, on several machines say; stays as it is [default: 1]"),
    ] = None,
    team: Team = "demo",
) -> None:
    """Make a stream; a running server starts it at once.

    lit stream new live crypto

    lit stream new coins crypto --set exchange=binance --set symbols='["BTC/USDT", "SOL/USDT"]'

    lit stream new day replay --set paths='["IBM.N_20131007.csv.gz"]' --set speed=60 --interval 5second

    `lit stream adapters NAME` shows what can be set.
    """
    from lit.sdk import streams

    shown = {"intervals": intervals or (), "features": features or ()}
    streams.create(team, name, adapter, _values(parameters), **shown, partitions=partitions)
    _written(team, name)


def change(
    name: Name,
    parameters: Parameters = None,
    intervals: Intervals = None,
    features: Features = None,
    team: Team = "demo",
) -> None:
    """Change parameters of a stream; a running one follows. An empty value takes a parameter away."""
    from lit.sdk import streams

    streams.change(team, name, _values(parameters), intervals=intervals, features=features)
    _written(team, name)


def start(name: Name, team: Team = "demo") -> None:
    """Let a stream run, also one that came to its end or failed."""
    from lit.sdk import streams

    if not streams.start(team, name):
        typer.echo(f"no server runs: `lit up` will start it, `lit worker stream --name {name}` runs it alone")


def stop(name: Name, team: Team = "demo") -> None:
    """Stop a stream; it stays stopped until it is started."""
    from lit.sdk import streams

    streams.stop(team, name)


def pause(name: Name, team: Team = "demo") -> None:
    """Let market time stand still (replay)."""
    _steer(team, name, paused=True)


def resume(name: Name, team: Team = "demo") -> None:
    """Let market time go on (replay)."""
    _steer(team, name, paused=False)


def speed(
    name: Name,
    factor: Annotated[float, typer.Argument(help="seconds of the market a second; 0: as fast as possible")],
    team: Team = "demo",
) -> None:
    """Change how fast market time passes (replay)."""
    _steer(team, name, speed=factor)


def seek(
    name: Name,
    time: Annotated[str, typer.Argument(help="ISO 8601 with zone, such as 2013-10-07T14:30:00Z")],
    team: Team = "demo",
) -> None:
    """Jump to a time (replay); a jump back is moved into the future by whole weeks, since market time only grows."""
    _steer(team, name, seek=time)


def remove(name: Name, team: Team = "demo") -> None:
    """Remove a stream; its topics stay."""
    from lit.sdk import streams

    streams.remove(team, name)


def _steer(team: str, name: str, **wanted: Any) -> None:
    from lit.sdk import streams

    streams.steer(team, name, **wanted)
    _hint(team, name)


def _written(team: str, name: str) -> None:
    typer.echo(f"{name} is written; a running server follows it")
    _hint(team, name)


def _hint(team: str, name: str) -> None:
    """Say how to start a stream that does not run any more."""
    from lit.sdk import streams

    health = streams.health(team, name)
    if health is not None and health.state in ("ended", "failed", "stopped"):
        typer.echo(f"{name} has {health.state}: `lit stream start {name!r}` lets it run")


def _values(texts: list[str] | None) -> dict[str, Any]:
    from lit.streams.errors import UserError

    found: dict[str, Any] = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--set {text!r} is no parameter=value")
        try:
            found[name.strip()] = json.loads(value) if value[:1] in ("{", "[") else value
        except ValueError:
            raise UserError(f"--set {name}: {value!r} is no JSON") from None
    return found
