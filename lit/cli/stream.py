"""`lit stream`: live feeds and outputs, made, watched, steered. A stream is a file of its team; the server runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from lit.streams.live import Stream
    from lit.streams.workspace import Workspace

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Name = Annotated[str, typer.Argument(help="a stream")]
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


def adapters(
    name: Annotated[str | None, typer.Argument(help="show this one's form")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List the stream adapters, or show the form of one."""
    from lit.streams.stream_adapters import read_stream_form
    from lit.streams.stream_files import list_adapters, unusable_adapters

    workspace = _workspace(team)
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

    workspace = _workspace(team)
    rows, broken = [], []
    for path in sorted(workspace.path("streams").glob("[!.]*.json")):
        try:
            rows.append(_row(workspace, path.stem))
        except UserError as error:  # one file that was changed by hand must not hide the others
            broken.append(str(error))
    for sentence in broken:
        typer.echo(f"not usable: {sentence}", err=True)
    if as_json:
        typer.echo(json.dumps(rows))
        return
    if not rows and not broken:
        typer.echo("No streams yet: `lit stream new NAME ADAPTER --set …` makes one, `lit stream adapters` lists them.")
    for row in rows:
        typer.echo(f"{row['name']:<16} {row['adapter']:<10} {_sentence(row)}")


def show(name: Name, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show a stream: its parameters without secrets, and how it does."""
    row = _row(_workspace(team), name)
    if as_json:
        typer.echo(json.dumps(row))
        return
    typer.echo(f"{name}: {row['adapter']}, {_sentence(row)}")
    typer.echo(json.dumps(row["parameters"], indent=2, ensure_ascii=False))
    for reason, count in (row["health"] or {}).get("rejects", {}).items():
        typer.echo(f"in quarantine: {count:,} ({reason})")
    for gap in (row["health"] or {}).get("recent_gaps", []):
        typer.echo(_gap(gap))


def new(
    name: Name,
    adapter: Annotated[str, typer.Argument(help="a stream adapter: `lit stream adapters` lists them")],
    parameters: Parameters = None,
    intervals: Intervals = None,
    features: Features = None,
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

    workspace = _workspace(team)
    if stream_path(workspace, name).exists():
        raise UserError(f"team {team!r} has a stream {name!r}: `lit stream set {name}` changes it")
    _put(
        workspace,
        name,
        Stream(AdapterName(adapter), _values(parameters), _checked(intervals), _schemas(workspace, features)),
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

    workspace = _workspace(team)
    stream = load_stream(workspace, name)
    values = {key: value for key, value in {**stream.parameters, **_values(parameters)}.items() if value != ""}
    wanted = stream.intervals if intervals is None else _checked(intervals)
    schemas = stream.features if features is None else _schemas(workspace, features)
    changed = msgspec.structs.replace(stream, parameters=values, intervals=wanted, features=schemas)
    _put(workspace, name, changed)


def start(name: Name, team: Team = "demo") -> None:
    """Let a stream run, also one that came to its end or failed."""
    from lit.streams.stream_files import enable

    enable(_workspace(team), name, True)
    if not _ask(team, name, "start"):
        typer.echo(f"no server runs: `lit up` will start it, `lit worker stream --name {name}` runs it alone")


def stop(name: Name, team: Team = "demo") -> None:
    """Stop a stream; it stays stopped until it is started."""
    from lit.streams.stream_files import enable

    enable(_workspace(team), name, False)
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


def gaps(
    name: Name,
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List the gaps of the last week; `lit tail ticks.NAME` shows them among the ticks."""
    import msgspec

    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.live import load_stream
    from lit.streams.stream_files import told_gaps

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        found = [msgspec.structs.asdict(gap) for gap in told_gaps(bootstrap, team, name, symbol)]
    if not found:
        load_stream(_workspace(team), name)  # of a stream that is gone what it told is still shown
    if as_json:
        typer.echo(json.dumps(found))
        return
    for gap in found:
        typer.echo(_gap(gap))
    if not found:
        typer.echo("no gap in the last week")


def remove(name: Name, team: Team = "demo") -> None:
    """Remove a stream; its topics stay."""
    from lit.streams.errors import UserError
    from lit.streams.live import load_stream, stream_path

    workspace = _workspace(team)
    if not stream_path(workspace, name).exists():
        load_stream(workspace, name)
    for path in workspace.path("preview").glob("*.json"):
        if json.loads(path.read_text()).get("stream") == name:
            raise UserError(f"deployment {path.stem!r} reads stream {name!r}: remove the deployment first")
    stream_path(workspace, name).unlink()


def _workspace(team: str) -> Workspace:
    from lit.settings import Settings
    from lit.streams.workspace import Workspace

    return Workspace(Settings().data, team)


def _put(workspace: Workspace, name: str, stream: Stream) -> None:
    from lit.streams.stream_files import put_stream

    put_stream(workspace, name, stream)
    typer.echo(f"{name} is written; a running server follows it")


def _steer(name: str, team: str, **wanted: Any) -> None:
    from lit.streams.stream_files import steer

    steer(_workspace(team), name, **wanted)


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


def _row(workspace: Workspace, name: str) -> dict[str, Any]:
    import msgspec

    from lit.streams.live import load_stream
    from lit.streams.live_health import read_health
    from lit.streams.stream_files import hidden_parameters

    stream, health = load_stream(workspace, name), read_health(workspace, name)
    return {
        "name": name,
        "adapter": stream.adapter.name,
        "enabled": stream.enabled,
        "intervals": stream.intervals,
        "features": stream.features,
        "parameters": hidden_parameters(workspace, stream),
        "health": None if health is None else msgspec.to_builtins(health),
    }


def stream_sentence(data: Path, worker: str) -> str | None:
    """Return how the stream of a worker (`team/stream.name`) does, in a line; None if its file is gone."""
    from lit.streams.errors import UserError
    from lit.streams.workspace import Workspace

    team, _, name = worker.partition("/stream.")
    try:
        return _sentence(_row(Workspace(data, team), name))
    except UserError:
        return None


def _sentence(row: dict[str, Any]) -> str:
    import time

    from lit.streams.live_health import STALE_SECONDS

    health = row["health"]
    if health is None:
        return "never ran" if row["enabled"] else "stopped"
    running = health["state"] in ("connecting", "live", "waiting", "paused")
    state = "not running" if running and time.time() - health["written"] > STALE_SECONDS else health["state"]
    if health["ticks"] == 0 and health["position"] and health["position"].startswith("http"):
        return f"{state} at {health['position']}"
    lag = f", lag {health['lag_ms']:,.0f} ms" if health["lag_ms"] is not None and state == "live" else ""
    error = f" ({health['last_error']})" if health["last_error"] and state != "live" else ""
    return (
        f"{state}{error}: {health['ticks']:,} ticks of {health['symbols']} symbols{lag}, "
        f"{health['reconnects']} reconnects, {health['gaps']} gaps, {health['repeats']:,} repeats, "
        f"{sum(health['rejects'].values()):,} refused"
    )


def _gap(gap: dict[str, Any]) -> str:
    missed = "an unknown number of" if gap["missed"] is None else f"{gap['missed']:,}"
    until = f" until {gap['until']}" if gap["until"] else ""
    where = f"{gap['symbol']} before tick {gap['before_index']}"
    return f"GAP {where} ({gap['reason']}): {missed} ticks missing since {gap['since']}{until}"
