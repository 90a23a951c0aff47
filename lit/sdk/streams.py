"""Streams from Python: which there are, their ticks and bars as DataFrames, with or without a running `lit up`.

All of it is what the tick sink has stored; the newest second may not be there yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lit.settings import Settings
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from lit.streams.store import Stores


def streams(team: str) -> list[str]:
    """Return the names of a team's streams."""
    return Workspace(Settings().data, team).names("streams")


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


def _check_count(count: int) -> None:
    if count < 1:
        raise UserError(f"count is {count}: ask for one at least")


def _stored(stores: Stores, team: str, stream: str, symbol: str) -> int:
    """Return how many ticks of a symbol are stored."""
    known = {segment.symbol: segment.count for segment in stores.team(team).segments(stream)}
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
