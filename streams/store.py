"""The tick store as others see it: what it promises, and its rows. Engines are in `store_clickhouse`, `store_http`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from lit.streams.search import Condition
from lit.streams.tick import Int64Array, TickBlock

#: Ticks of an entry of the store's summary: extremes and latest times are known for runs of so many.
BUCKET_TICKS = 1024


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One symbol's ticks of one origin; times are ns since the epoch, UTC."""

    symbol: str
    count: int
    first_timestamp: int
    last_timestamp: int


class TickRange(msgspec.Struct, frozen=True):
    """Ticks first…last−1 of one symbol of one origin; `whole` says that these are all it has."""

    origin: str
    symbol: str
    first: int
    last: int
    whole: bool = False

    def __len__(self) -> int:
        return self.last - self.first


class RangeReads(Protocol):
    """Reads over many sequences at once, each in one query, bounded in time and memory.

    Raises
    ------
    UserError
        If a query takes too long or too much memory, or a pattern is none.
    FaultError
        If the engine fails, or the store has not what the ranges name.
    """

    def columns(self, source: str, ranges: Sequence[TickRange], names: Sequence[str]) -> pa.Table:
        """Return columns of ticks, range after range, in order of index; an adapter's own fields in their own types."""

    def extras(self, source: str, ranges: Sequence[TickRange]) -> dict[str, str]:
        """Return the fields beyond the tick model, and their Arrow types, as first ticks have them."""

    def matches(self, source: str, ranges: Sequence[TickRange], search: Condition) -> tuple[Int64Array, Int64Array]:
        """Return (number of the range, index) of ticks that fulfil a search, range after range."""

    def count(self, source: str, ranges: Sequence[TickRange], search: Condition) -> int:
        """Return how many ticks fulfil a search."""

    def extremes(self, source: str, ranges: Sequence[TickRange], width: int) -> pa.Table:
        """Return what lies in each run of `width` ticks (of a sequence, counted from its first): one row a run.

        Returns
        -------
        pyarrow.Table
            `range` (number), `run` (index // width), `start`, `end` (earliest and latest time, ns), `low`, `high`
            (prices), `smallest`, `largest` (volumes), in order of range and run.
        """

    def peaks(self, source: str, ranges: Sequence[TickRange], width: int) -> list[Int64Array]:
        """Return of each whole range the latest time (ns) in each run of `width` ticks (a multiple of 1,024)."""


class TickStore(Protocol):
    """Ticks of one team by (source, origin, symbol, index); each identity is there once, however often inserted."""

    @property
    def ranges(self) -> RangeReads:
        """Reads over many sequences at once."""

    def insert(self, source: str, partition: int, blocks: Sequence[tuple[int, TickBlock]]) -> None:
        """Store (offset, block) pairs of one partition, in order of offset; on return they are there.

        Raises
        ------
        FaultError
            If the engine refuses; whole messages up to some offset may then be stored (see `applied`).
        """

    def applied(self, source: str) -> Mapping[int, int]:
        """Return partition → greatest offset such that it and all before it are stored."""

    def segments(self, source: str, origin: str = "") -> list[StoredSegment]:
        """Return what is stored of an origin, by symbol."""

    def count(self, source: str, origin: str | None = None) -> int:
        """Return the number of ticks, of one origin or (None) of all."""

    def window(self, source: str, symbol: str, first: int, last: int, origin: str = "") -> TickBlock:
        """Return ticks first…last−1; at an edge of the data fewer, perhaps none."""

    def packet(self, source: str, symbol: str, index: int, origin: str = "") -> dict[str, Any]:
        """Return one tick as users know it.

        Raises
        ------
        IndexError
            If there is no such tick.
        """

    def index_at(self, source: str, symbol: str, timestamp: int, origin: str = "") -> int:
        """Return the index of the first tick at or after `timestamp` (ns); the number of ticks if there is none."""

    def delete(self, source: str, origin: str | None = None) -> None:
        """Forget a source, or one origin of it."""


class Stores(Protocol):
    """The store of each team."""

    def team(self, name: str) -> TickStore:
        """Return a team's store."""
