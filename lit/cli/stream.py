"""`lit stream`: live feeds and outputs, made and steered. A stream is a file of its team; the server runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.cli.stream_view import Name, Team, adapters, gaps, list_all, show
from lit.cli.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.live import Stream
    from lit.streams.workspace import Workspace

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
    from lit.streams.errors import UserError
    from lit.streams.live import AdapterName, Stream, stream_path

    workspace = workspace_of(team)
    if stream_path(workspace, name).exists():
        raise UserError(f"team {team!r} has a stream {name!r}: `lit stream set {name}` changes it")
    stream = Stream(AdapterName(adapter), _values(parameters), _checked(intervals), _schemas(workspace, features))
    if partitions is not None:
        _partition(team, name, partitions)
    _put(workspace, name, stream)


def _partition(team: str, name: str, partitions: int) -> None:
    """Create a stream's tick topic: whatever follows from it will have as many partitions."""
    from dataclasses import replace

    from lit.settings import Settings
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.clients import partitions_of
    from lit.streams.errors import UserError

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        topic = replace(topics.ticks(team, name), partitions=partitions)
        topics.create_topics(bootstrap, topic, replication=settings.replication)
        if (found := len(partitions_of(bootstrap, topic.name))) != partitions:
            raise UserError(
                f"topic {topic.name} is there already, with {found} partitions: leave --partitions away, or choose "
                "another name for the stream"
            )


def change(
    name: Name,
    parameters: Parameters = None,
    intervals: Intervals = None,
    features: Features = None,
    team: Team = "demo",
) -> None:
    """Change parameters of a stream; a running one follows. An empty value takes a parameter away."""
    import msgspec

    from lit.streams.live import load_stream

    workspace = workspace_of(team)
    stream = load_stream(workspace, name)
    values = {key: value for key, value in {**stream.parameters, **_values(parameters)}.items() if value != ""}
    wanted = stream.intervals if intervals is None else _checked(intervals)
    schemas = stream.features if features is None else _schemas(workspace, features)
    changed = msgspec.structs.replace(stream, parameters=values, intervals=wanted, features=schemas)
    _put(workspace, name, changed)


def start(name: Name, team: Team = "demo") -> None:
    """Let a stream run, also one that came to its end or failed."""
    from lit.streams.stream_files import enable

    enable(workspace_of(team), name, True)
    if not _ask(team, name, "start"):
        typer.echo(f"no server runs: `lit up` will start it, `lit worker stream --name {name}` runs it alone")


def stop(name: Name, team: Team = "demo") -> None:
    """Stop a stream; it stays stopped until it is started."""
    from lit.streams.stream_files import enable

    enable(workspace_of(team), name, False)
    _ask(team, name, "stop")


def pause(name: Name, team: Team = "demo") -> None:
    """Let market time stand still (replay)."""
    _steer(name, team, paused=True)


def resume(name: Name, team: Team = "demo") -> None:
    """Let market time go on (replay)."""
    _steer(name, team, paused=False)


def speed(
    name: Name,
    factor: Annotated[float, typer.Argument(help="seconds of the market a second; 0: as fast as possible")],
    team: Team = "demo",
) -> None:
    """Change how fast market time passes (replay)."""
    _steer(name, team, speed=factor)


def seek(
    name: Name,
    time: Annotated[str, typer.Argument(help="ISO 8601 with zone, such as 2013-10-07T14:30:00Z")],
    team: Team = "demo",
) -> None:
    """Jump to a time (replay); a jump back is moved into the future by whole weeks, since market time only grows."""
    _steer(name, team, seek=time)


def remove(name: Name, team: Team = "demo") -> None:
    """Remove a stream; its topics stay."""
    from lit.streams.errors import UserError
    from lit.streams.live import load_stream, stream_path

    workspace = workspace_of(team)
    if not stream_path(workspace, name).exists():
        load_stream(workspace, name)
    for path in workspace.path("preview").glob("*.json"):
        if json.loads(path.read_text()).get("stream") == name:
            raise UserError(f"deployment {path.stem!r} reads stream {name!r}: remove the deployment first")
    stream_path(workspace, name).unlink()


def _put(workspace: Workspace, name: str, stream: Stream) -> None:
    from lit.streams.stream_files import put_stream

    put_stream(workspace, name, stream)
    typer.echo(f"{name} is written; a running server follows it")


def _steer(name: str, team: str, **wanted: Any) -> None:
    from lit.streams.stream_files import steer

    steer(workspace_of(team), name, **wanted)


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


def _checked(intervals: list[str] | None) -> list[str]:
    from lit.features.intervals import Interval

    return [str(Interval.parse(text)) for text in intervals or []]


def _schemas(workspace: Workspace, names: list[str] | None) -> list[str]:
    from lit.features.schema import load_schema

    return [load_schema(workspace, name).name for name in names or [] if name]


def _ask(team: str, name: str, what: str) -> bool:
    """Tell a running server; returns whether there is one."""
    import httpx

    from lit.settings import Settings
    from lit.streams.errors import FaultError
    from lit.streams.store_open import running_server

    found = running_server(Settings().data)
    if found is None:
        return False
    url, token = found
    address = f"{url}/api/teams/{team}/streams/{name}/{what}"
    try:
        answer = httpx.post(address, headers={"Authorization": f"Bearer {token}"}, timeout=15, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise FaultError(f"LIT at {url} does not answer: {error}") from error
    return True
