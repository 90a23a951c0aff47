"""What "nothing changes" predicts: for each sample the last label of its symbol that was known by then.

A label made at t looks ahead and is known at t + horizon. So for a price to come this says the price as it is, for a
volatility the one just seen: the naive forecast that a regression must beat (Hyndman and Athanasopoulos, Forecasting:
Principles and Practice, ch. 5.2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lit.trainer.asset import Asset, Rows

Labels = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
#: Times (ns), symbols' numbers, and labels of samples, in any order.
Samples = tuple[Ints, Ints, Labels]
_EMPTY = np.empty(0, np.int64)


def last_known(known: Samples, asked: Samples, horizon_seconds: float) -> Labels:
    """Return for each sample asked for the label of the last sample of its symbol that was known at its time.

    Parameters
    ----------
    known
        Samples whose labels may be told; those asked for may be among them.
    asked
        Whose labels are to be guessed; their own are not looked at.
    horizon_seconds
        How long after its sample a label is known.

    Returns
    -------
    ndarray of float32 (samples, columns)
        NaN where nothing was known.
    """
    times, symbols, labels = known
    found = np.full((len(asked[0]), labels.shape[1]), np.nan, np.float32)
    horizon = round(horizon_seconds * 1e9)
    for symbol in np.unique(asked[1]):
        own, wanted = np.flatnonzero(symbols == symbol), np.flatnonzero(asked[1] == symbol)
        own = own[np.argsort(times[own], kind="stable")]
        last = np.searchsorted(times[own] + horizon, asked[0][wanted], side="right") - 1
        has = last >= 0
        found[wanted[has]] = labels[own[last[has]]]
    return found


def labelled(part: Asset, rows: Rows | None, labels: Labels, numbers: dict[str, int]) -> Samples | None:
    """Return times and symbols of a part's samples with their labels; None if the part does not say them.

    Parameters
    ----------
    rows
        Those whose labels are given; none: all.
    numbers
        See `Asset.origins`.
    """
    if "timestamp" not in part or "symbol" not in part:
        return None
    found = list(part.origins(numbers))
    times, symbols = (np.concatenate([_EMPTY, *(one[place] for one in found)]) for place in (0, 1))
    return (times, symbols, labels) if rows is None else (times[rows], symbols[rows], labels)


def joined(first: Samples, second: Samples) -> Samples:
    """Return the samples of both."""
    return (
        np.concatenate([first[0], second[0]]),
        np.concatenate([first[1], second[1]]),
        np.concatenate([first[2], second[2]]),
    )
