"""Which of two models is better on the same bars, and whether that is more than chance. Pure."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from lit.streams.tick import Float64Array

#: Moments that there must be before a model is called better.
ENOUGH = 30


class Comparison(msgspec.Struct, frozen=True):
    """Two models on the bars that both were scored at.

    Parameters
    ----------
    bars
        How many; none if one says classes and the other numbers.
    only_champion_right, only_challenger_right
        Bars at which one was right and the other was not: about the class, of numbers about the sign.
    mcnemar_p
        Two-sided exact p of those being equally likely (McNemar 1947). It takes bars for independent, so of many
        symbols that move together it is too small: `better` goes by the interval.
    brier_difference
        Mean of the champion's squared error minus the challenger's, also of numbers: above 0, the challenger is better.
    low, high
        Its 95 % confidence interval, with the variance of a series whose neighbours resemble each other (Diebold and
        Mariano 1995, Bartlett weights), and the symbols' bars of one moment even more: they count as one observation.
    better
        The model that is better for certain (the interval leaves 0 out, on 30 moments at the least), else null.
    """

    champion: str
    challenger: str
    bars: int
    only_champion_right: int = 0
    only_challenger_right: int = 0
    mcnemar_p: float = 1.0
    brier_difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    better: str | None = None


def paired(
    champion: str,
    challenger: str,
    both: list[tuple[tuple[int, float], tuple[int, float]]],
    times: list[int] | None = None,
) -> Comparison:
    """Compare two models by (right, squared error) of each at the same bars, in order.

    Parameters
    ----------
    times
        When each bar began, ascending; bars of several symbols may begin together. None: one after the other.
    """
    if not both:
        return Comparison(champion, challenger, 0)
    first = sum(a[0] > b[0] for a, b in both)
    second = sum(b[0] > a[0] for a, b in both)
    differences = np.array([a[1] - b[1] for a, b in both])
    together = np.unique(times, return_inverse=True)[1] if times else np.arange(len(both))
    mean = float(differences.mean())
    moments = np.bincount(together, differences - mean).astype(np.float64)
    margin = 1.959964 * math.sqrt(_variance_of_sum(moments)) / len(both)
    certain = len(moments) >= ENOUGH and abs(mean) > margin > 0
    return Comparison(
        champion=champion,
        challenger=challenger,
        bars=len(both),
        only_champion_right=first,
        only_challenger_right=second,
        mcnemar_p=_binomial_p(min(first, second), first + second),
        brier_difference=mean,
        low=mean - margin,
        high=mean + margin,
        better=(challenger if mean > 0 else champion) if certain else None,
    )


def _variance_of_sum(centred: Float64Array) -> float:
    count = len(centred)
    lags = min(int(count ** (1 / 3)), count - 1)
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    return max(total, 0.0)


def _binomial_p(fewer: int, total: int) -> float:
    """Return the two-sided exact p of `fewer` or less of `total` fair coins, and as many the other way."""
    if total == 0:
        return 1.0
    if total > 1000:  # the normal approximation with continuity correction
        z = max(0.0, abs(total / 2 - fewer) - 0.5) / (math.sqrt(total) / 2)
        return math.erfc(z / math.sqrt(2))
    return min(1.0, 2 * sum(math.comb(total, k) for k in range(fewer + 1)) / 2**total)
