"""Streams from Python, with or without a running `lit up`: made, steered, and what they hold as DataFrames.

A stream is a file of its team; a running server follows it. Ticks and bars are what the tick sink has stored; the
newest second may not be there yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lit.sdk.workspace import workspace_of
from lit.settings import Settings
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from lit.streams.live_health import GapView, Health
    from lit.streams.store import Stores


def streams(team: str) -> list[str]:
    """Return the names of a team's streams."""
    return workspace_of(team).names("streams")


def create(
    team: str,
    name: str,
    adapter: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    intervals: Sequence[str] = (),
    features: Sequence[str] = (),
    partitions: int | None = None,
) -> None:
    """Make a stream; a running server starts it at once.

    Parameters
    ----------
    team, name
        Whose, and its name.
    adapter
        A stream adapter: `lit stream adapters` lists them.
    parameters
        As the adapter's form has them.
    intervals
        Bars besides those of a minute.
    features
        Schemas whose features are published as they come.
    partitions
        How many workers may share it; None: what its topic has, or 1.

    Raises
    ------
    UserError
        If there is such a stream, no such adapter or schema, or a parameter does not fit.
    FaultError
        If partitions are asked for and Kafka does not answer.
    """
    from lit.streams.broker import kafka
    from lit.streams.live import AdapterName, Stream, save_stream, stream_path
    from lit.streams.stream_files import check_stream, partition_stream

    workspace = workspace_of(team)
    if stream_path(workspace, name).exists():
        raise UserError(f"team {team!r} has a stream {name!r}: `lit stream set {name!r}` changes it")
    wanted = Stream(AdapterName(adapter), dict(parameters or {}), _intervals(intervals), _schemas(workspace, features))
    stream = check_stream(workspace, name, wanted)
    if partitions is not None:
        settings = Settings()
        with kafka(settings.data, settings.kafka) as bootstrap:
            partition_stream(bootstrap, team, name, partitions, settings.replication)
    save_stream(workspace, name, stream)


def change(
    team: str,
    name: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    intervals: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> None:
    """Change a stream; what is not given stays, an empty text takes a parameter away. A running one follows.

    Raises `UserError` if there is no such stream or schema, or a parameter does not fit.
    """
    import msgspec

    from lit.streams.live import load_stream
    from lit.streams.stream_files import put_stream

    workspace = workspace_of(team)
    stream = load_stream(workspace, name)
    changed = msgspec.structs.replace(
        stream,
        parameters={key: value for key, value in {**stream.parameters, **(parameters or {})}.items() if value != ""},
        intervals=stream.intervals if intervals is None else _intervals(intervals),
        features=stream.features if features is None else _schemas(workspace, features),
    )
    put_stream(workspace, name, changed)


def start(team: str, name: str) -> bool:
    """Let a stream run, also one that came to its end or failed; returns whether a server is there to run it."""
    return _enable(team, name, True)


def stop(team: str, name: str) -> bool:
    """Stop a stream; it stays stopped until it is started. Returns whether a server ran."""
    return _enable(team, name, False)


def steer(team: str, name: str, **wanted: Any) -> None:
    """Change `paused`, `speed`, `seek` (ISO 8601) or `loop` of a stream whose adapter can, such as replay.

    Raises `UserError` if there is no such stream, or it cannot be steered so.
    """
    from lit.streams.stream_files import steer as change_file

    change_file(workspace_of(team), name, **wanted)


def remove(team: str, name: str) -> None:
    """Remove a stream; its topics stay. Raises `UserError` if there is none, or a deployment reads it.

    One that is a topic alone, filled by `lit replay` say, is known to a running server only.
    """
    from lit.sdk.published import stream_of
    from lit.sdk.server import ask, runs
    from lit.streams.live import load_stream, remove_stream, stream_path

    workspace = workspace_of(team)
    for path in workspace.path("preview").glob("*.json"):
        if stream_of(path) == name:
            raise UserError(f"deployment {path.stem!r} reads stream {name!r}: remove the deployment first")
    if stream_path(workspace, name).exists():
        remove_stream(workspace, name)
    elif runs():
        ask("DELETE", f"/teams/{team}/streams/{name}")
    else:
        load_stream(workspace, name)  # says which there are


def health(team: str, name: str) -> Health | None:
    """Return how a stream does, None if it never ran: state, ticks, lag, gaps, repeats, what was refused.

    Raises
    ------
    UserError
        If there is no such stream.
    """
    from lit.streams.live import load_stream
    from lit.streams.live_health import read_health

    workspace = workspace_of(team)
    load_stream(workspace, name)
    return read_health(workspace, name)


def gaps(team: str, name: str, symbol: str | None = None) -> list[GapView]:
    """Return the gaps of the last week, oldest first; the tick topic has all of them.

    Raises
    ------
    UserError
        If there is no such stream, nor a gap of one that was removed.
    FaultError
        If Kafka does not answer.
    """
    from lit.streams.broker import kafka
    from lit.streams.live import load_stream
    from lit.streams.stream_files import told_gaps

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        found = told_gaps(bootstrap, team, name, symbol)
    if not found:
        load_stream(workspace_of(team), name)
    return found


def symbols(team: str, stream: str) -> dict[str, int]:
    """Return the symbols of a stream and how many ticks of each are stored."""
    with _stores() as stores:
        return {segment.symbol: segment.count for segment in stores.team(team).segments(stream)}


def ticks(team: str, stream: str, symbol: str, *, first: int | None = None, count: int = 1000) -> pd.DataFrame:
    """Return ticks by their index: `count` from `first` on, or the newest.

    Raises
    ------
    UserError
        If the stream has no stored ticks of the symbol.
    """
    import pandas as pd

    _check_count(count)
    if first is not None and first < 0:
        raise UserError(f"first is {first}: ticks are counted from 0; without it, the newest come")
    with _stores() as stores:
        store = stores.team(team)
        stored = _stored(stores, team, stream, symbol)
        begin = max(0, stored - count) if first is None else first
        block = store.window(stream, symbol, begin, begin + count)
    frame = block.batch.to_pandas()
    frame.index = pd.RangeIndex(block.first_index, block.next_index, name="index")
    return frame


def bars(team: str, stream: str, symbol: str, interval: str = "1minute", *, count: int = 500) -> pd.DataFrame:
    """Return the newest closed bars of any interval, oldest first, by ordinal, computed from the stored ticks.

    Parameters
    ----------
    team, stream, symbol
        Whose.
    interval
        As everywhere: `1minute`, `5second`, `250tick`…
    count
        How many, 20,000 at the most.

    Raises
    ------
    UserError
        If the stream has no stored ticks of the symbol, or there is no such interval.
    """
    import msgspec
    import pandas as pd

    from lit.api.stream_bars import StreamBars
    from lit.features.intervals import Interval
    from lit.streams.records import Bar

    _check_count(count)
    wanted = Interval.parse(interval)
    with _stores() as stores:
        _stored(stores, team, stream, symbol)
        found, _ = StreamBars(stores).read(team, stream, symbol, wanted)
    columns = [field.name for field in msgspec.structs.fields(Bar)]
    frame = pd.DataFrame([msgspec.structs.asdict(bar) for bar in found[-count:]], columns=columns)
    for name in ("start", "end"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame.set_index("ordinal")


def _enable(team: str, name: str, enabled: bool) -> bool:
    from lit.sdk.server import ask, runs
    from lit.streams.stream_files import enable

    enable(workspace_of(team), name, enabled)
    if running := runs():
        ask("POST", f"/teams/{team}/streams/{name}/{'start' if enabled else 'stop'}")
    return running


def _intervals(texts: Sequence[str]) -> list[str]:
    from lit.features.intervals import Interval

    return [str(Interval.parse(text)) for text in texts]


def _schemas(workspace: Workspace, names: Sequence[str]) -> list[str]:
    from lit.features.schema import load_schema

    return [load_schema(workspace, name).name for name in names if name]


def _check_count(count: int) -> None:
    if count < 1:
        raise UserError(f"count is {count}: ask for one at least")


def _stored(stores: Stores, team: str, stream: str, symbol: str) -> int:
    """Return how many ticks of a symbol are stored."""
    known = {segment.symbol: segment.count for segment in stores.team(team).segments(stream)}
    if not known and stream not in streams(team):
        raise UserError(f"team {team!r} has no stream {stream!r} (there are: {', '.join(streams(team)) or 'none yet'})")
    if symbol not in known:
        has = ", ".join(sorted(known)) or "none yet"
        raise UserError(f"stream {stream!r} of team {team!r} has no stored ticks of {symbol!r} (it has: {has})")
    return known[symbol]


@contextmanager
def _stores() -> Iterator[Stores]:
    from lit.streams.store_open import open_store

    settings = Settings()
    with open_store(settings.data, settings.clickhouse) as stores:
        yield stores
