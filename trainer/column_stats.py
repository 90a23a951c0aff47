"""What is in the columns of a feature, streaming: moments, quantiles, histogram; and how a second part differs (drift).

A column's values are all finite values of its samples, over all rows of each. Everything but NaN and infinity shares
is of finite values. All counts, minima and maxima are exact; the mean is one sum in file order, the deviation a second
pass around it (`ddof=0`), quantiles are values of the column itself (NumPy's `inverted_cdf`; exact for float32,
`order_statistics` says how far for float64). So nothing depends on how the file is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from lit.trainer.order_statistics import Selection

#: Shares at which quantiles are taken; drift is measured between them.
PERCENTS = np.arange(101)
SHOWN_PERCENTS = (1, 5, 25, 50, 75, 95, 99)
#: Bins of a histogram, of equal width.
BINS = 40
#: A histogram ends this many interquartile ranges outside of the quartiles (Tukey's outer fences): beyond are outliers.
FENCE = 3.0
#: A column with no more distinct values than this has them counted: labels and flags.
MAX_CLASSES = 16
#: Histograms go no further, so that the differences of their edges are finite.
_WIDEST = 1e300
#: Edges that are searched, padded with infinity: a power of two above the 101 quantiles.
_SEARCHED = 128
_HALF = _SEARCHED // 2

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
#: Reads a part once more, from its beginning: chunks (values, columns), C-contiguous float32 or float64.
Source = Callable[[], Iterator[npt.NDArray[Any]]]


class ColumnHistogram(msgspec.Struct, frozen=True):
    """Counts between edges of equal distance (the last bin holds its upper edge), and of what lies outside."""

    low: float
    high: float
    counts: list[int]
    below: int
    above: int


class ColumnStats(msgspec.Struct, frozen=True):
    """One column of one part; None where it has no finite value.

    `values` counts all of them, samples times rows. `quantiles` are at `SHOWN_PERCENTS`. `classes` are value and count
    of each distinct value, ascending, if there are few. `outliers` is the share of finite values that lie beyond the
    training part's outer fences.
    """

    values: int
    nan_share: float
    inf_share: float
    min: float | None
    mean: float | None
    max: float | None
    std: float | None
    quantiles: dict[str, float]
    histogram: ColumnHistogram | None
    classes: list[tuple[float, int]] | None
    outliers: float
    constant: bool


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a column's training part lies: what its histogram and drift are measured by.

    Attributes
    ----------
    edges : ndarray of float64
        Distinct quantiles at `PERCENTS`, ascending.
    deciles : ndarray of int64
        Which of the edges are deciles, the minimum and the maximum.
    low, high : float
        Ends of the histogram.
    """

    edges: Floats
    deciles: Ints
    low: float
    high: float

    @classmethod
    def of(cls, quantiles: Floats) -> Grid:
        """Return the grid of 101 quantiles."""
        edges = np.unique(quantiles)
        deciles = np.unique(np.searchsorted(edges, quantiles[::10]))
        quantiles = np.clip(quantiles, -_WIDEST, _WIDEST)
        reach = FENCE * (quantiles[75] - quantiles[25])
        if not reach:  # half of the values are equal: the fences would leave out all others
            return cls(edges, deciles, float(quantiles[0]), float(quantiles[-1]))
        low, high = max(quantiles[0], quantiles[25] - reach), min(quantiles[-1], quantiles[75] + reach)
        return cls(edges, deciles, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Column:
    """Statistics of a column in one part, with its counts on a grid for drift.

    Attributes
    ----------
    stats : ColumnStats
        What is shown.
    grid : Grid or None
        The grid; None if the training part has no finite value.
    counts : ndarray of int64
        2 n + 2 counts for n edges: below the first, at it, between it and the second…, above the last; then those
        that are not finite.
    """

    stats: ColumnStats
    grid: Grid | None
    counts: Ints


def columns_of(
    source: Source, columns: int, dtype: npt.DTypeLike, grids: list[Grid | None] | None = None
) -> list[Column]:
    """Summarise the columns of a part in four passes.

    Parameters
    ----------
    source
        Reads the part.
    columns, dtype
        How many columns, and whether float32 or float64.
    grids
        Those of the training part; none: this is the training part, and makes its own.
    """
    selection, plain = Selection(columns, dtype), _Plain(columns)
    for chunk in source():
        selection.add(chunk)
        plain.add(chunk)
    found = selection.counted()
    selection.end_pass([np.maximum((PERCENTS * count + 99) // 100 - 1, 0) if count else _NONE for count in found])
    mean = np.divide(plain.sums, found, out=np.full(columns, np.nan), where=found > 0)
    squares = np.zeros(columns)
    for chunk in source():
        selection.add(chunk)
        _add_squares(chunk, mean, squares)
    selection.end_pass()
    for chunk in source():
        selection.add(chunk)
    selection.end_pass()
    quantiles = selection.values()
    for column, values in enumerate(quantiles):
        if len(values):
            values[0], values[-1] = plain.low[column], plain.high[column]
    own = grids if grids is not None else [Grid.of(values) if len(values) else None for values in quantiles]
    counters = [_Counter(grid) for grid in own]
    for chunk in source():
        for column, counter in enumerate(counters):
            counter.add(chunk, column)
    std = np.sqrt(np.divide(squares, found, out=np.full(columns, np.nan), where=found > 0))
    return [
        Column(_stats(plain, c, mean[c], std[c], quantiles[c], counters[c]), own[c], counters[c].result(plain, c))
        for c in range(columns)
    ]


_NONE = np.empty(0, np.int64)


class _Plain:
    """What the first pass sees besides ranks."""

    def __init__(self, columns: int) -> None:
        self.nan, self.inf = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
        self.count = np.zeros(columns, np.int64)
        self.sums = np.zeros(columns)
        self.low, self.high = np.full(columns, np.inf), np.full(columns, -np.inf)
        self.classes, self.members = np.zeros((columns, MAX_CLASSES)), np.zeros((columns, MAX_CLASSES), np.int64)
        self.distinct = np.zeros(columns, np.int64)

    def add(self, chunk: npt.NDArray[Any]) -> None:
        _see(
            chunk, self.nan, self.inf, self.count, self.sums, self.low, self.high,
            self.classes, self.members, self.distinct,
        )  # fmt: skip


class _Counter:
    """Counts a column's values on its grid and in its histogram."""

    def __init__(self, grid: Grid | None) -> None:
        self.grid = grid
        self.edges = np.full(_SEARCHED, np.inf)
        self.edges[: len(grid.edges) if grid else 0] = grid.edges if grid else 0
        self.bins = np.linspace(grid.low, grid.high, BINS + 1) if grid else np.zeros(BINS + 1)
        self.counts = np.zeros(2 * len(grid.edges) + 1 if grid else 1, np.int64)
        self.histogram = np.zeros(BINS + 2, np.int64)

    def add(self, chunk: npt.NDArray[Any], column: int) -> None:
        if self.grid is not None:
            _place(chunk, column, self.edges, self.bins, self.counts, self.histogram)

    def result(self, plain: _Plain, column: int) -> Ints:
        return np.append(self.counts, plain.nan[column] + plain.inf[column])


def _stats(plain: _Plain, c: int, mean: float, std: float, quantiles: Floats, counter: _Counter) -> ColumnStats:
    finite = int(plain.count[c])
    values = finite + int(plain.nan[c] + plain.inf[c])
    below, *inside, above = counter.histogram.tolist()
    few = 0 < plain.distinct[c] <= MAX_CLASSES
    order = np.argsort(plain.classes[c, : plain.distinct[c]])
    return ColumnStats(
        values=values,
        nan_share=int(plain.nan[c]) / max(values, 1),
        inf_share=int(plain.inf[c]) / max(values, 1),
        min=float(plain.low[c]) if finite else None,
        mean=float(mean) if finite else None,
        max=float(plain.high[c]) if finite else None,
        std=float(std) if finite else None,
        quantiles={str(p): float(quantiles[p]) for p in SHOWN_PERCENTS} if finite else {},
        histogram=ColumnHistogram(counter.grid.low, counter.grid.high, inside, below, above) if counter.grid else None,
        classes=[(float(plain.classes[c, i]), int(plain.members[c, i])) for i in order.tolist()] if few else None,
        outliers=(below + above) / max(finite, 1),
        constant=bool(finite and plain.low[c] == plain.high[c]),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _see(values, nan, inf, count, sums, low, high, classes, members, distinct):  # type: ignore[no-untyped-def]
    most = classes.shape[1]
    for i in range(values.shape[0]):
        for c in range(values.shape[1]):
            v = np.float64(values[i, c])
            if not np.isfinite(v):
                if np.isnan(v):
                    nan[c] += 1
                else:
                    inf[c] += 1
                continue
            count[c] += 1
            sums[c] += v
            low[c] = min(low[c], v)
            high[c] = max(high[c], v)
            if distinct[c] <= most:
                at = 0
                while at < distinct[c] and classes[c, at] != v:
                    at += 1
                if at < most:
                    classes[c, at] = v
                    members[c, at] += 1
                distinct[c] = max(distinct[c], at + 1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_squares(values, mean, squares):  # type: ignore[no-untyped-def]
    for i in range(values.shape[0]):
        for c in range(values.shape[1]):
            if np.isfinite(values[i, c]):
                squares[c] += (values[i, c] - mean[c]) ** 2


@njit(cache=True)  # type: ignore[untyped-decorator]
def _place(values, column, edges, bins, counts, histogram):  # type: ignore[no-untyped-def]
    last = len(bins) - 1
    low, high = bins[0], bins[last]
    scale = last / (high - low) if high > low else 0.0
    if not np.isfinite(scale):  # a width below what a float64 resolves, or beyond its range: search from the left
        scale = 0.0
    for i in range(values.shape[0]):
        v = np.float64(values[i, column])
        if not np.isfinite(v):
            continue
        left, step = 0, _HALF
        while step:  # without branches: which way it goes is anybody's guess
            left += step * (edges[left + step - 1] < v)
            step >>= 1
        counts[2 * left + (edges[left] == v)] += 1
        if v < low:
            histogram[0] += 1
        elif v > high:
            histogram[last + 1] += 1
        else:
            at = max(0, min(last - 1, int((v - low) * scale)))
            while at > 0 and v < bins[at]:  # as the edges are, whatever the product was rounded to
                at -= 1
            while at < last - 1 and v >= bins[at + 1]:
                at += 1
            histogram[at + 1] += 1
