"""Which unit of time a trade lies in, as bars count them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lit.features.intervals import Interval, TimeGrid, midnights


def cells(timestamps: npt.ArrayLike, unit: str, size: int = 1) -> npt.NDArray[np.int64]:
    """Return the number of the cell of `size` `unit`s that each time lies in.

    Parameters
    ----------
    timestamps
        ns since the epoch, UTC.
    unit, size
        `second`, `minute`, `hour` (aligned to the UTC epoch) or `day` (of the exchange).
    """
    return _grid(unit, size).cells(np.asarray(timestamps, np.int64))


@lru_cache(maxsize=32)
def _grid(unit: str, size: int) -> TimeGrid:
    return TimeGrid(Interval.of(unit, size))


def time_of_day(timestamps: npt.ArrayLike, zone: str) -> npt.NDArray[np.float64]:
    """Return how much of the exchange's day has passed at each time (ns, UTC), from 0 to 1."""
    stamps = np.asarray(timestamps, np.int64)
    edges = midnights(zone)
    day = np.searchsorted(edges, stamps, side="right") - 1
    return (stamps - edges[day]) / (edges[day + 1] - edges[day])
