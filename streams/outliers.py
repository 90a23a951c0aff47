"""Price outliers by a robust rule: far from the median of the neighbours, measured by how far these are from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from lit.streams.tick import iso

#: Neighbours on each side, mean absolute deviations, and the least relative distance.
NEIGHBOURS, DEVIATIONS, FLOOR = 25, 10.0, 0.001
_ROWS = 8192  # windows at once: some 3 MB


@dataclass(frozen=True, slots=True)
class Outlier:
    """A price, when it was traded, and the median of its neighbours."""

    time: str
    price: float
    median: float


def outliers(
    prices: npt.NDArray[np.float64], first: int, last: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return which of prices first…last−1 are outliers, and the medians of their neighbours.

    At an edge there are fewer neighbours; a price with fewer than ten is never judged.
    """
    places, medians = [], []
    for begin in range(first, last, _ROWS):
        end = min(begin + _ROWS, last)
        low, high = begin - NEIGHBOURS, end + NEIGHBOURS
        padded = np.full(high - low, np.nan)
        inside = prices[max(low, 0) : min(high, len(prices))]
        padded[max(-low, 0) : max(-low, 0) + len(inside)] = inside
        windows = sliding_window_view(padded, 2 * NEIGHBOURS + 1)
        around = np.concatenate((windows[:, :NEIGHBOURS], windows[:, NEIGHBOURS + 1 :]), axis=1)
        edge = np.isnan(around).any()
        enough = (~np.isnan(around)).sum(axis=1) >= 10 if edge else np.ones(len(around), np.bool_)
        around[~enough] = 0.0
        median = np.nanmedian(around, axis=1) if edge else np.median(around, axis=1)
        deviation = np.nanmean(np.abs(around - median[:, None]), axis=1)
        distance = np.abs(prices[begin:end] - median)
        hit = enough & (distance > DEVIATIONS * deviation) & (distance > FLOOR * np.abs(median))
        places.append(np.flatnonzero(hit) + begin)
        medians.append(median[hit])
    if not places:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(places), np.concatenate(medians)


class OutlierScan:
    """Judges the prices of one symbol block by block, each when its later neighbours are known."""

    def __init__(self, shown: int) -> None:
        self._shown = shown
        self._stamps = np.zeros(0, np.int64)
        self._prices = np.zeros(0)
        self._judged = 0  # how many of those held were judged
        self._count = 0
        self._found: list[Outlier] = []

    def feed(self, stamps: npt.NDArray[np.int64], prices: npt.NDArray[np.float64]) -> None:
        """Take the next ticks."""
        self._stamps = np.concatenate((self._stamps, stamps))
        self._prices = np.concatenate((self._prices, prices))
        self._judge(len(self._prices) - NEIGHBOURS)
        drop = max(self._judged - NEIGHBOURS, 0)
        self._stamps, self._prices, self._judged = self._stamps[drop:], self._prices[drop:], self._judged - drop

    def finish(self) -> tuple[int, list[Outlier]]:
        """Judge what is left; return the number of outliers and the first of them."""
        self._judge(len(self._prices))
        return self._count, self._found

    def _judge(self, last: int) -> None:
        if last <= self._judged:
            return
        places, medians = outliers(self._prices, self._judged, last)
        self._count += len(places)
        room = self._shown - len(self._found)
        for place, median in list(zip(places, medians, strict=True))[:room]:
            self._found.append(Outlier(iso(int(self._stamps[place])), float(self._prices[place]), float(median)))
        self._judged = last
