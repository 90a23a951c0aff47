"""Many sequences as one dataset: which symbol's tick an index means, and a finished dataset as an adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lit.features.window import SymbolWindow
from lit.streams.tick import END_OF_TIME, Float64Array, Int64Array, TickBlock, Watermark


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive ticks of one symbol in a dataset: one symbol of one file."""

    symbol: str
    count: int


class Layout:
    """Maps an index of the dataset to (symbol, position in that symbol's sequence) and back.

    A dataset is its segments one after the other; a symbol's sequence is its segments in that order.
    """

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = tuple(segments)
        counts = np.array([segment.count for segment in self.segments], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._bases = np.zeros(len(counts), np.int64)
        seen: dict[str, int] = {}
        self._symbols = np.array([segment.symbol for segment in self.segments], dtype=object)
        for number, segment in enumerate(self.segments):
            self._bases[number] = seen.get(segment.symbol, 0)
            seen[segment.symbol] = int(self._bases[number]) + segment.count
        self.counts = seen

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, index: int) -> tuple[str, int]:
        """Return the symbol and the position in its sequence.

        Raises
        ------
        IndexError
            If the dataset has no such index.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0…{len(self) - 1}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.segments[number].symbol, int(index - self._starts[number] + self._bases[number])

    def by_symbol(self, indices: Int64Array) -> list[tuple[str, Int64Array, Int64Array]]:
        """Return (symbol, which of the indices are its, their positions in its sequence), by first appearance.

        Raises
        ------
        IndexError
            If the dataset has no such index.
        """
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"index {indices[outside][0]} is outside 0…{len(self) - 1}")
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        positions = indices - self._starts[numbers] + self._bases[numbers]
        symbols = self._symbols[numbers]
        found = []
        for symbol in dict.fromkeys(symbols.tolist()):
            where = np.flatnonzero(symbols == symbol)
            found.append((symbol, where, positions[where]))
        return found

    def indices(self, symbol: str, positions: Int64Array) -> Int64Array:
        """Return the dataset's indices of positions within a symbol's sequence."""
        numbers = np.array([n for n, s in enumerate(self.segments) if s.symbol == symbol and s.count], np.int64)
        held = numbers[np.searchsorted(self._bases[numbers], positions, side="right") - 1]
        return positions - self._bases[held] + self._starts[held]


class SymbolReads(Protocol):
    """One symbol's finished sequence, as `SymbolWindow` holds it in memory; indices count within it."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one tick."""
        ...

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks."""
        ...

    def get_bars(
        self, index: int, count: int, unit: str, size: float, future: bool, prevent_lookahead_bias: bool
    ) -> Float64Array:
        """Return bars around one tick."""
        ...

    def get_bars_batch(
        self, indices: Int64Array, count: int, unit: str, size: float, future: bool, prevent_lookahead_bias: bool
    ) -> tuple[Float64Array, Int64Array]:
        """Return bars around many ticks."""
        ...


class DatasetAdapter:
    """A finished dataset as features and users see it (`TradersBaseAdapter`).

    Parameters
    ----------
    windows
        Symbol → its ticks, ended.
    layout
        Which index is whose.
    """

    def __init__(self, windows: Mapping[str, SymbolReads], layout: Layout) -> None:
        self._windows = windows
        self.layout = layout

    @classmethod
    def of_blocks(cls, blocks: Iterable[TickBlock], segments: Iterable[Segment] | None = None) -> DatasetAdapter:
        """Build an adapter over blocks held in memory, each symbol's in order.

        Parameters
        ----------
        blocks
            The ticks.
        segments
            The layout; none: a segment a block, in their order.
        """
        windows: dict[str, SymbolWindow] = {}
        own: list[Segment] = []
        for block in blocks:
            windows.setdefault(block.symbol, SymbolWindow(block.symbol)).feed(block)
            own.append(Segment(block.symbol, len(block)))
        for symbol, window in windows.items():
            window.feed(Watermark(symbol, END_OF_TIME, window.next_index))
        return cls(windows, Layout(own if segments is None else segments))

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, index: int) -> dict[str, Any]:
        symbol, position = self.layout.locate(index)
        return {**self._windows[symbol][position], "index": index}

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return bars of the symbol of tick `index` around the bar that holds it (see `TradersBaseAdapter`)."""
        if not 0 <= index < len(self):
            return np.empty((0, 8))
        symbol, position = self.layout.locate(index)
        return self._windows[symbol].get_bars(position, count, unit, size, future, prevent_lookahead_bias)

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks (see `TradersBaseAdapter`)."""
        indices = np.asarray(indices, np.int64)
        parts = [
            (where, self._windows[symbol].column(name, positions))
            for symbol, where, positions in self.layout.by_symbol(indices)
        ]
        out = np.empty(len(indices), parts[0][1].dtype if parts else np.float64)
        for where, values in parts:
            out[where] = values
        return out

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
        indices = np.asarray(indices, np.int64)
        values = np.full((len(indices), int(count), 8), np.nan)
        lengths = np.zeros(len(indices), np.int64)
        inside = np.flatnonzero((indices >= 0) & (indices < len(self)))
        for symbol, where, positions in self.layout.by_symbol(indices[inside]):
            rows = inside[where]
            values[rows], lengths[rows] = self._windows[symbol].get_bars_batch(
                positions, count, unit, size, future, prevent_lookahead_bias
            )
        return values, lengths
