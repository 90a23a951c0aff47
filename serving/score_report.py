"""How a deployment's models did, since the start and lately.

Pure: scores in, numbers out. Memory does not grow with the number of scores.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import msgspec
import numpy as np

from lit.serving.comparison import Comparison, paired
from lit.serving.regression_measures import RegressionMeasures, RegressionSums, mean_squared_error, signs_right
from lit.serving.score_summary import base_rates, classes, right, squared_error
from lit.streams.records import Score
from lit.streams.tick import Float64Array, Int64Array, from_iso
from lit.trainer import metrics

#: "Lately" is the last so many scores.
RECENT = 500
#: Bins of the reliability diagram, and those that the ROC curve since the start is counted in.
BINS, FINE = 10, 20_000
#: Bars that models are compared on: the latest so many.
COMPARED = 20_000


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
    regression
        Of a model that predicts numbers instead of classes: then all others are null.
    """

    scored: int
    accuracy: float | None = None
    base_rate_accuracy: float | None = None
    brier: float | None = None
    base_rate_brier: float | None = None
    auc: float | None = None
    calibration_error: float | None = None
    regression: RegressionMeasures | None = None


class ModelReport(msgspec.Struct, frozen=True):
    """A model of a deployment over all symbols; `validation` has the run's own metrics of its epoch, from the vault."""

    model: str
    shadow: bool
    since_start: Measures
    recent: Measures
    calibration: list[Reliability]
    validation: dict[str, float] = {}


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
class _Said:
    """Whether a model was right at a bar: about the class (None: it said none), the sign; and its squared error."""

    hit: bool | None
    sign: bool
    error: float

    def judged(self, by_class: bool) -> tuple[int, float]:
        """Return whether it was right, and the error."""
        return int(bool(self.hit if by_class else self.sign)), self.error


@dataclass(slots=True)
class _Bar:
    """What models said at a bar; `start` in ns since the epoch."""

    start: int
    said: dict[str, _Said] = field(default_factory=dict)


@dataclass(slots=True)
class _Recent:
    """A score, when its bar began (ns since the epoch), and its probabilities and class, if it is of classes."""

    start: int
    score: Score
    found: tuple[list[float], int] | None


class ScoreReports:
    """Scores of a deployment, each taken once, in any order."""

    def __init__(self) -> None:
        self._start: dict[str, _Sums] = {}
        self._recent: dict[str, _Sums] = {}
        self._numbers: dict[str, RegressionSums] = {}
        self._window: dict[str, list[_Recent]] = {}
        self._others: dict[str, int] = {}
        self._bars: dict[tuple[str, int], _Bar] = {}
        self._oldest = -(2**63)

    def add(self, score: Score) -> None:
        """Take a score."""
        model, found = score.model, classes(score.prediction, score.outcome)
        if model not in self._start:
            self._start[model], self._recent[model] = _Sums(fine=np.zeros((2, FINE), np.int64)), _Sums()
            self._numbers[model], self._window[model], self._others[model] = RegressionSums(), [], 0
        start = from_iso(score.bar_start)
        self._remember(_Recent(start, score, found))
        self._numbers[model].add(score.prediction, score.outcome)
        if found is None:
            self._others[model] += 1
        else:
            self._start[model].add(*found)
        if (said := _said(score, found)) and start >= self._oldest:
            self._bars.setdefault((score.symbol, score.ordinal), _Bar(start)).said[model] = said
        if len(self._bars) > 2 * COMPARED:
            self._forget()

    def _remember(self, one: _Recent) -> None:
        """Take a score among its model's last: by time, since topics are not read in the order of their scores."""
        recent, window = self._recent[one.score.model], self._window[one.score.model]
        insort(window, one, key=lambda other: other.start)
        if one.found is not None:
            recent.add(*one.found)
        if len(window) > RECENT and (gone := window.pop(0).found) is not None:
            recent.add(*gone, sign=-1)

    def _forget(self) -> None:
        """Keep the latest bars by time: one model's topic may be read long before another's."""
        kept = sorted(self._bars.items(), key=lambda item: item[1].start)[-COMPARED:]
        self._bars, self._oldest = dict(kept), kept[0][1].start

    def recent(self, model: str) -> Measures:
        """Return a model's measures of the last scores."""
        window = self._window.get(model, [])
        both = [one.found for one in window if one.found is not None]
        if len(both) <= len(window) - len(both):
            numbers = RegressionSums((one.score.prediction, one.score.outcome) for one in window)
            return Measures(len(window), regression=numbers.measures())
        sums = self._recent[model]
        came = np.array([came == 1 for _, came in both])
        if not sums.binary or came.all() or not came.any():
            return sums.measures()
        area = metrics.auc(came, np.array([probabilities[1] for probabilities, _ in both]))
        return msgspec.structs.replace(sums.measures(), auc=area)

    def report(self, model: str, shadow: bool, validation: dict[str, float] | None = None) -> ModelReport:
        """Return all about a model."""
        since, classified = self._start.get(model, _Sums()), self._classified(model)
        return ModelReport(
            model,
            shadow,
            since.measures() if classified else self._measured(model),
            self.recent(model),
            since.reliability() if classified else [],
            dict(validation or {}),
        )

    def _classified(self, model: str) -> bool:
        """Whether most of a model's scores are of classes: the outcome of a regression is 0 now and then."""
        return model in self._start and self._start[model].scored > self._others[model]

    def _measured(self, model: str) -> Measures:
        """Return the measures since the start of a model that says numbers."""
        if model not in self._start:
            return Measures(0)
        return Measures(self._start[model].scored + self._others[model], regression=self._numbers[model].measures())

    def compare(self, champion: str, challenger: str) -> Comparison:
        """Compare two models on the bars that both were scored at."""
        classified = self._classified(champion)
        if classified != self._classified(challenger):
            return Comparison(champion, challenger, 0)
        found: list[tuple[int, tuple[tuple[int, float], tuple[int, float]]]] = []
        for bar in self._bars.values():
            if (a := bar.said.get(champion)) is None or (b := bar.said.get(challenger)) is None:
                continue
            if not classified or (a.hit is not None and b.hit is not None):
                found.append((bar.start, (a.judged(classified), b.judged(classified))))
        found = sorted(found, key=lambda one: one[0])[-COMPARED:]
        return paired(champion, challenger, [both for _, both in found], [start for start, _ in found])


def _said(score: Score, found: tuple[list[float], int] | None) -> _Said | None:
    """Return what a model said at a bar; None if there is nothing to compare."""
    alike = len(score.prediction) == len(score.outcome) > 0
    sign = alike and signs_right(score.prediction, score.outcome)
    if found is not None:
        probabilities, came = found
        return _Said(right(probabilities, came), sign, squared_error(probabilities, came, len(probabilities) == 2))
    return _Said(None, sign, mean_squared_error(score.prediction, score.outcome)) if alike else None
