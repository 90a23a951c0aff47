"""Cached files as one dataset with random access, through the tick store; nothing is read before it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.features.dataset import DatasetAdapter, Layout, Segment
from lit.features.intervals import Interval
from lit.features.stored_bars import StoredBars
from lit.features.stored_ticks import CHUNK_TICKS, KEPT_BYTES, Kept, Part, StoredTicks
from lit.features.window import gather
from lit.streams.errors import UserError
from lit.streams.store import TickStore
from lit.streams.tick import Float64Array, Int64Array

#: Part of the name of what a pass of the kernel made: another kernel makes another.
_KERNEL = 1


class StoredSymbol:
    """One symbol's ticks and bars, as `SymbolWindow` has them of a finished sequence; indices count within it."""

    def __init__(self, ticks: StoredTicks, zone: str, kept: Kept, folder: Path | None, name: str) -> None:
        self.ticks = ticks
        self._zone, self._kept, self._folder, self._name = zone, kept, folder, name
        self._bars: dict[Interval, StoredBars] = {}

    def __len__(self) -> int:
        return len(self.ticks)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"tick {index} is outside 0…{len(self) - 1}")
        return self.ticks.packet(index)

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks (see `TradersBaseAdapter`)."""
        indices = np.asarray(indices, np.int64)
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"tick {indices[outside][0]} is outside 0…{len(self) - 1}")
        return self.ticks.column(name, indices)

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return bars around the bar that holds tick `index` (see `TradersBaseAdapter`)."""
        bars, first, stop = self._of(Interval.of(unit, size)).span(
            np.array([index], np.int64), int(count), bool(future), bool(prevent_lookahead_bias)
        )
        return bars.values[first[0] : stop[0]].copy()

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[Float64Array, Int64Array]:
        """Return `get_bars` of many indices (see `TradersBaseAdapter`)."""
        indices, count = np.asarray(indices, np.int64), int(count)
        source = self._of(Interval.of(unit, size))
        values, lengths = np.full((len(indices), count, 8), np.nan), np.zeros(len(indices), np.int64)
        owners = self.ticks.chunk_of(indices)
        order = np.argsort(owners, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
            if len(rows):
                bars, first, stop = source.span(indices[rows], count, bool(future), bool(prevent_lookahead_bias))
                values[rows], lengths[rows] = gather(bars.values, first, stop, count)
        return values, lengths

    def _of(self, interval: Interval) -> StoredBars:
        found = self._bars.get(interval)
        if found is None:
            file = None
            if self._folder is not None:
                name = hashlib.sha256(f"{self._name} {interval} {self._zone}".encode()).hexdigest()[:32]
                file = self._folder / f"{name}.bars"
            found = self._bars.setdefault(interval, StoredBars(self.ticks, interval, self._zone, self._kept, file))
        return found


class StoredDataset(DatasetAdapter):
    """Parts of the tick store as one dataset (`TradersBaseAdapter`); for several threads.

    Parameters
    ----------
    store
        The team's store.
    source
        Name under which the ticks are stored.
    parts
        In the dataset's order.
    folder
        Where bars that took a pass over all ticks are kept; none: in memory alone.
    kept_bytes
        How much of what was read stays in memory.
    zone
        The exchange's time zone (edges of `day` bars).
    chunk_ticks
        How many ticks are read at once at the least.
    """

    def __init__(
        self,
        store: TickStore,
        source: str,
        parts: Sequence[Part],
        folder: Path | None = None,
        kept_bytes: int = KEPT_BYTES,
        zone: str = "America/New_York",
        chunk_ticks: int = CHUNK_TICKS,
    ) -> None:
        self.store, self.source = store, source
        self.parts = tuple(part for part in parts if part.count)
        twice = len({(part.origin, part.symbol) for part in self.parts}) < len(self.parts)
        if twice:
            raise UserError("a file is in the dataset twice: name each once")
        kept = Kept(kept_bytes)
        windows = {}
        for symbol in dict.fromkeys(part.symbol for part in self.parts):
            own = [part for part in self.parts if part.symbol == symbol]
            ticks = StoredTicks(store, source, own, kept, chunk_ticks)
            name = repr((_KERNEL, source, symbol, chunk_ticks, [(part.origin, part.count) for part in own]))
            windows[symbol] = StoredSymbol(ticks, zone, kept, folder, name)
        self.symbols = windows
        super().__init__(windows, Layout(Segment(part.symbol, part.count) for part in self.parts))
