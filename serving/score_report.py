"""How a deployment's models did, since the start and lately, and which of two is better on the same bars.

Pure: scores in, numbers out. Memory does not grow with the number of scores.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np

from lit.serving.score_summary import base_rates, classes, right, squared_error
from lit.streams.records import Score
from lit.streams.tick import Float64Array, Int64Array, from_iso
from lit.trainer import metrics

#: "Lately" is the last so many scores.
RECENT = 500
#: Bins of the reliability diagram, and those that the ROC curve since the start is counted in.
BINS, FINE = 10, 20_000
#: Bars that models are compared on: the latest so many; and how many there must be before one is called better.
COMPARED, ENOUGH = 20_000, 30


class Reliability(msgspec.Struct, frozen=True):
    """A bin of the reliability diagram: predictions of `low`…`high`, their mean, and how often it came true."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


class Measures(msgspec.Struct, frozen=True):
    """How good predictions were, each number beside what a guess by the outcomes' own frequencies would have got.

    Parameters
    ----------
    accuracy, base_rate_accuracy
        Share of outcomes that were said to be the likeliest; that of always saying the most frequent one.
    brier, base_rate_brier
        Mean squared error of the probabilities (Brier 1950); that of always saying the frequencies.
    auc
        How often a yes scored above a no (of the last scores exactly, since the start to a 20,000th of probability);
        null unless there are two classes.
    calibration_error
        Mean distance of prediction and frequency over ten bins.
    """

    scored: int
    accuracy: float | None = None
    base_rate_accuracy: float | None = None
    brier: float | None = None
    base_rate_brier: float | None = None
    auc: float | None = None
    calibration_error: float | None = None


class ModelReport(msgspec.Struct, frozen=True):
    """A model of a deployment over all symbols; `validation` has the run's own metrics of its epoch, from the vault."""

    model: str
    shadow: bool
    since_start: Measures
    recent: Measures
    calibration: list[Reliability]
    validation: dict[str, float] = {}


class Comparison(msgspec.Struct, frozen=True):
    """Two models on the bars that both were scored at.

    Parameters
    ----------
    bars
        How many.
    only_champion_right, only_challenger_right
        Bars at which one was right and the other was not.
    mcnemar_p
        Two-sided exact p of those being equally likely (McNemar 1947). It takes bars for independent, so of many
        symbols that move together it is too small: `better` goes by the interval.
    brier_difference
        Mean of the champion's squared error minus the challenger's: above 0, the challenger is better.
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


@dataclass
class _Sums:
    """Counts that add up: since the start they grow, lately what leaves is subtracted; `fine` only if it is given."""

    scored: int = 0
    hits: int = 0
    squares: float = 0.0
    came: dict[int, int] = field(default_factory=dict)
    binary: bool = True
    fine: Int64Array | None = None
    sums: Float64Array = field(default_factory=lambda: np.zeros((3, BINS)))

    def add(self, probabilities: list[float], came: int, sign: int = 1) -> None:
        self.scored += sign
        self.binary = len(probabilities) == 2
        self.hits += sign * right(probabilities, came)
        self.squares += sign * squared_error(probabilities, came, self.binary)
        self.came[came] = self.came.get(came, 0) + sign
        if self.binary:
            p = min(max(probabilities[1], 0.0), 1.0)
            if self.fine is not None:
                self.fine[came, min(int(p * FINE), FINE - 1)] += sign
            self.sums[:, min(int(p * BINS), BINS - 1)] += (sign, sign * p, sign * came)

    def measures(self) -> Measures:
        if not self.scored:
            return Measures(0)
        base_accuracy, base_brier = base_rates([count for count in self.came.values() if count], self.binary)
        return Measures(
            scored=self.scored,
            accuracy=self.hits / self.scored,
            base_rate_accuracy=base_accuracy,
            brier=self.squares / self.scored,
            base_rate_brier=base_brier,
            auc=self._auc(),
            calibration_error=float(np.abs(self.sums[1] - self.sums[2]).sum() / self.scored) if self.binary else None,
        )

    def _auc(self) -> float | None:
        if self.fine is None or not self.binary:
            return None
        no, yes = self.fine
        if not no.any() or not yes.any():
            return None
        below = np.cumsum(no) - no / 2
        return float((yes * below).sum() / (yes.sum() * no.sum()))

    def reliability(self) -> list[Reliability]:
        return [
            Reliability(number / BINS, (number + 1) / BINS, int(count), said / count, came / count)
            for number, (count, said, came) in enumerate(self.sums.T.tolist())
            if count > 0.5
        ]


@dataclass(slots=True)
class _Bar:
    """Whether each model was right at a bar, and its squared error; `start` in ns since the epoch."""

    start: int
    said: dict[str, tuple[int, float]] = field(default_factory=dict)


class ScoreReports:
    """Scores of a deployment, each taken once, in the order of their topics; models' may come in any order."""

    def __init__(self) -> None:
        self._start: dict[str, _Sums] = {}
        self._recent: dict[str, _Sums] = {}
        self._window: dict[str, deque[tuple[list[float], int] | None]] = {}
        self._others: dict[str, int] = {}
        self._bars: dict[tuple[str, int], _Bar] = {}
        self._oldest = -(2**63)

    def add(self, score: Score) -> None:
        """Take a score; of one without classes (a regression) there is only the number."""
        model, found = score.model, classes(score.prediction, score.outcome)
        if model not in self._start:
            self._start[model], self._recent[model] = _Sums(fine=np.zeros((2, FINE), np.int64)), _Sums()
        recent, window = self._recent[model], self._window.setdefault(model, deque())
        window.append(found)
        if len(window) > RECENT and (gone := window.popleft()) is not None:
            recent.add(*gone, sign=-1)
        if found is None:
            self._others[model] = self._others.get(model, 0) + 1
            return
        probabilities, came = found
        self._start[model].add(probabilities, came)
        recent.add(probabilities, came)
        said = int(right(probabilities, came)), squared_error(probabilities, came, len(probabilities) == 2)
        if (start := from_iso(score.bar_start)) >= self._oldest:
            self._bars.setdefault((score.symbol, score.ordinal), _Bar(start)).said[model] = said
        if len(self._bars) > 2 * COMPARED:
            self._forget()

    def _forget(self) -> None:
        """Keep the latest bars by time: one model's topic may be read long before another's."""
        kept = sorted(self._bars.items(), key=lambda item: item[1].start)[-COMPARED:]
        self._bars, self._oldest = dict(kept), kept[0][1].start

    def recent(self, model: str) -> Measures:
        """Return a model's measures of the last scores."""
        window = self._window.get(model, deque())
        both = [one for one in window if one is not None]
        if len(both) <= len(window) - len(both):
            return Measures(len(window))
        sums = self._recent[model]
        came = np.array([came == 1 for _, came in both])
        if not sums.binary or came.all() or not came.any():
            return sums.measures()
        area = metrics.auc(came, np.array([probabilities[1] for probabilities, _ in both]))
        return msgspec.structs.replace(sums.measures(), auc=area)

    def report(self, model: str, shadow: bool, validation: dict[str, float] | None = None) -> ModelReport:
        """Return all about a model."""
        since, others = self._start.get(model, _Sums()), self._others.get(model, 0)
        classified = since.scored > others
        return ModelReport(
            model,
            shadow,
            since.measures() if classified else Measures(since.scored + others),
            self.recent(model),
            since.reliability() if classified else [],
            dict(validation or {}),
        )

    def compare(self, champion: str, challenger: str) -> Comparison:
        """Compare two models on the bars that both were scored at."""
        bars = [bar for bar in self._bars.values() if {champion, challenger} <= bar.said.keys()]
        bars = sorted(bars, key=lambda bar: bar.start)[-COMPARED:]
        both = [(bar.said[champion], bar.said[challenger]) for bar in bars]
        return paired(champion, challenger, both, [bar.start for bar in bars])


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
