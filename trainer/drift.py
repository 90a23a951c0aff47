"""How far the values of one part are from those of another: population stability index and Kolmogorov-Smirnov.

Both are computed from counts on a grid of the reference's own quantiles (`column_stats.Grid`); no value is needed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: A share is counted as this at the least: an empty bin would make the index infinite.
FLOOR = 1e-4
#: Usual reading of the index (Siddiqi, Credit Risk Scorecards, 2006): below 0.1 stable, above 0.25 another population.
STABLE, SHIFTED = 0.1, 0.25

Ints = npt.NDArray[np.int64]


def population_stability(expected: Ints, actual: Ints) -> float:
    """Return the population stability index of counts in the same bins.

    The sum over bins of (a - e) ln(a / e) for shares e of the reference and a of the other, each at least `FLOOR`: the
    symmetric Kullback-Leibler divergence (Jeffreys, 1946). With nothing on either side it is 0.
    """
    if not expected.sum() or not actual.sum():
        return 0.0
    e = np.maximum(expected / expected.sum(), FLOOR)
    a = np.maximum(actual / actual.sum(), FLOOR)
    return float(np.sum((a - e) * np.log(a / e)))


def decile_counts(counts: Ints, deciles: Ints) -> Ints:
    """Join the counts of a grid into the bins of the stability index.

    Below the reference's minimum; at it; up to and with each further decile; above the maximum; not finite. A column
    with few values has fewer bins, each value of the reference that is a decile ending one.

    Parameters
    ----------
    counts
        As `column_stats.Column.counts`.
    deciles
        As `column_stats.Grid.deciles`.
    """
    ends = np.concatenate([[0], 2 * deciles + 1, [len(counts) - 2]])
    upto = np.cumsum(counts)[ends]
    return np.append(np.diff(upto, prepend=0), counts[-1])


def kolmogorov_smirnov(expected: Ints, actual: Ints) -> float:
    """Return the greatest distance of two distribution functions, of finite values, seen at a grid's edges.

    Both sides of each edge are looked at. Between two edges lies at most a hundredth of the reference, so the true
    distance is larger by at most that.
    """
    e, a = expected[:-1], actual[:-1]
    if not e.sum() or not a.sum():
        return 0.0
    return float(np.abs(np.cumsum(e) / e.sum() - np.cumsum(a) / a.sum()).max())
