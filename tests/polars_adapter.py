"""An adapter over ticks in memory whose bars of time and ticks come from Polars, independent of the bar kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from lit.streams.tick import TickBlock

NANOS = {"second": 10**9, "minute": 60 * 10**9, "hour": 3600 * 10**9}


class PolarsAdapter:
    """The adapter contract over one block without late ticks."""

    def __init__(self, block: TickBlock) -> None:
        self._block = block
        self._cache: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._block)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._block.packet(index)

    def column(self, name: str, indices: np.ndarray) -> np.ndarray:
        return self._block.batch.column(name).to_numpy()[indices]

    def get_bars(self, index, count, unit, size, future=False, prevent_lookahead_bias=True):  # type: ignore[no-untyped-def]
        cells, bars = self._bars(unit, size)
        if not 0 <= index < len(self):
            return bars[:0]
        holding = int(np.searchsorted(cells, self._cells(unit, size)[index]))
        if future:
            first = holding + int(prevent_lookahead_bias)
            return bars[first : first + count]
        stop = holding + int(not prevent_lookahead_bias)
        return bars[max(stop - count, 0) : stop]

    def get_bars_batch(self, indices, count, *arguments, **keywords):  # type: ignore[no-untyped-def]
        values, lengths = np.full((len(indices), count, 8), np.nan), np.zeros(len(indices), np.int64)
        for row, index in enumerate(indices):
            bars = self.get_bars(int(index), count, *arguments, **keywords)
            values[row, : len(bars)], lengths[row] = bars, len(bars)
        return values, lengths

    def _cells(self, unit: str, size: int) -> np.ndarray:
        if unit == "tick":
            return np.arange(len(self)) // size
        return self._block.timestamp // (NANOS[unit] * size)

    def _bars(self, unit: str, size: int) -> tuple[np.ndarray, np.ndarray]:
        if (unit, size) not in self._cache:
            price, volume = pl.col("price"), pl.col("volume")
            frame = pl.DataFrame(
                {"cell": self._cells(unit, size), "price": self._block.price, "volume": self._block.volume}
            )
            bars = frame.group_by("cell", maintain_order=True).agg(
                open=price.first(),
                high=price.max(),
                low=price.min(),
                close=price.last(),
                trades=pl.len().cast(pl.Float64),
                volume=volume.sum(),
                mean=volume.sum() / pl.len(),
                max=volume.max(),
            )
            self._cache[unit, size] = bars["cell"].to_numpy(), bars.drop("cell").to_numpy()
        return self._cache[unit, size]
