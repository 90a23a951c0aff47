"""Which unit of time a trade lies in, as bars count them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lit.features.intervals import Interval, TimeGrid


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
