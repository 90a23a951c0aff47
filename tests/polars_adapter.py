"""An adapter whose bars come from Polars, independent of the bar kernel; over ticks held in memory, time bars alone."""

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
        self._cache: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._block)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._block.packet(index)

    def column(self, name: str, indices: np.ndarray) -> np.ndarray:
        return self._block.batch.column(name).to_numpy()[indices]

    def get_bars(self, index, count, unit, size, future=False, prevent_lookahead_bias=True):  # type: ignore[no-untyped-def]
        cells, bars = self._bars(NANOS[unit] * size)
        if not 0 <= index < len(self):
            return bars[:0]
        holding = int(np.searchsorted(cells, self._block.timestamp[index] // (NANOS[unit] * size)))
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

    def _bars(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        if width not in self._cache:
            price, size = pl.col("price"), pl.col("size")
            frame = pl.DataFrame(
                {"cell": self._block.timestamp // width, "price": self._block.price, "size": self._block.volume}
            )
            bars = frame.group_by("cell", maintain_order=True).agg(
                open=price.first(),
                high=price.max(),
                low=price.min(),
                close=price.last(),
                trades=pl.len().cast(pl.Float64),
                volume=size.sum(),
                mean=size.sum() / pl.len(),
                max=size.max(),
            )
            self._cache[width] = bars["cell"].to_numpy(), bars.drop("cell").to_numpy()
        return self._cache[width]
