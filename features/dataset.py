"""A finished dataset as an adapter: many sequences under one index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lit.features.layout import Layout, Segment
from lit.features.window import SymbolWindow
from lit.streams.tick import END_OF_TIME, Float64Array, Int64Array, TickBlock, Watermark

__all__ = ["DatasetAdapter", "Layout", "Segment"]


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
