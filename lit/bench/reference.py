"""The plain script that builds are measured against: Polars for bars, NumPy for windows, h5py for the file.

All ticks in memory, one pass, no promises: what a good data scientist writes in an afternoon.
"""

from __future__ import annotations

import h5py
import numpy as np
import numpy.typing as npt
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

COUNT, RATE, SETTLE = 100, 14, 42
_MINUTE = 60_000_000_000
#: Samples computed at once.
_ROWS = 8192
Array = npt.NDArray[np.float64]


def dataset_of(ticks: pl.DataFrame, out: h5py.Group) -> int:
    """Write the features of all last ticks of a minute; returns how many samples there are."""
    minutes = (
        ticks.lazy()
        .with_columns(minute=pl.col("timestamp") // _MINUTE, index=pl.int_range(pl.len()))
        .group_by("minute", maintain_order=True)
        .agg(
            open=pl.first("Price"),
            high=pl.max("Price"),
            low=pl.min("Price"),
            close=pl.last("Price"),
            trades=pl.len().cast(pl.Float64),
            volume=pl.sum("Volume"),
            mean=pl.sum("Volume") / pl.len(),
            largest=pl.max("Volume"),
            first=pl.first("index"),
            last=pl.last("index"),
        )
        .collect()
    )
    bars = minutes.select("open", "high", "low", "close", "trades", "volume", "mean", "largest").to_numpy()
    bars = np.ascontiguousarray(bars)
    first, last = minutes["first"].to_numpy(), minutes["last"].to_numpy()
    behind = np.searchsorted(first, last - RATE + 1, side="right")  # the first bar behind the tick RATE - 1 ticks ago
    held = np.arange(len(bars))
    whole = (held >= COUNT + SETTLE) & (last - RATE + 1 >= 0) & (behind + RATE <= len(bars)) & (held < len(bars) - 1)
    rows = np.flatnonzero(whole)
    long = sliding_window_view(bars[:, :4], COUNT + SETTLE, axis=0)
    short = sliding_window_view(bars[:, :4], RATE, axis=0)
    windows = sliding_window_view(bars, COUNT, axis=0)
    out.create_dataset("per_minute", data=np.ones((len(rows), 1), np.float32))
    shapes = {"bars": (COUNT, 8), "atr": (COUNT, 1), "up": (1,)}
    sets = {name: out.create_dataset(name, (len(rows), *shape), np.float32) for name, shape in shapes.items()}
    for start in range(0, len(rows), _ROWS):
        own = rows[start : start + _ROWS]
        stop = start + len(own)
        sets["bars"][start:stop] = windows[own - COUNT].transpose(0, 2, 1)
        sets["atr"][start:stop] = average_true_range(long[own - COUNT - SETTLE])[:, -COUNT:, None]
        ahead = average_true_range(short[behind[own]])
        sets["up"][start:stop] = ahead[:, -1:] > ahead[:, -2:-1]
    return len(rows)


def average_true_range(bars: Array) -> Array:
    """Return Wilder's average of the true ranges of bars (samples, columns, bars) → (samples, bars)."""
    high, low, close = bars[:, 1].T.copy(), bars[:, 2].T.copy(), bars[:, 3].T.copy()
    ranges = high - low
    ranges[1:] = np.maximum(ranges[1:], np.maximum(np.abs(high[1:] - close[:-1]), np.abs(low[1:] - close[:-1])))
    decay = 1.0 - 1.0 / (1.0 + (RATE - 1.0))
    out = np.empty_like(ranges)
    mean, weight = ranges[0], 1.0
    out[0] = mean
    for step in range(1, len(ranges)):
        weight *= decay
        mean = np.where(mean == ranges[step], mean, (weight * mean + ranges[step]) / (weight + 1.0))
        weight += 1.0
        out[step] = mean
    return out.T
