"""The tick store as others see it: what it promises, and its rows. Engines are in `store_clickhouse`, `store_http`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lit.streams.tick import TickBlock


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One symbol's ticks of one origin; times are ns since the epoch, UTC."""

    symbol: str
    count: int
    first_timestamp: int
    last_timestamp: int


class TickStore(Protocol):
    """Ticks of one team by (source, origin, symbol, index); each identity is there once, however often inserted."""

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
