"""How predictions have done so far, next to what no model at all would have done. Pure: scores in, numbers out.

A prediction is read by its form: one number from 0 to 1 with an outcome of 0 or 1 is the probability of 1; several are
probabilities of classes, with an outcome that is one-hot or names the class. Other scores have no accuracy; a model of
which most are of that kind (a regression, whose outcome is 0 now and then) has errors instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from lit.serving.regression_measures import RegressionMeasures, RegressionSums
from lit.streams.records import Prediction, Score

#: `recent_accuracy` is of this many scores.
RECENT = 50
#: Probabilities of a float32 model may be outside 0…1 by this.
ROUNDING = 1e-6


class Summary(msgspec.Struct, frozen=True):
    """How a model did on a symbol (null: on all).

    Parameters
    ----------
    scored, pending
        Predictions with an outcome, and those that wait for theirs.
    accuracy
        Share of predictions whose likeliest class came; null without classes.
    base_rate_accuracy
        That of always saying the most frequent class of these outcomes, known in hindsight: a hard measure.
    brier, base_rate_brier
        Mean squared error of the probabilities (summed over classes where there are more than two), and that of
        always giving the outcomes' frequencies.
    recent_accuracy
        Accuracy of the last 50.
    regression
        Of a model that predicts numbers: then all measures of classes are null.
    """

    model: str
    symbol: str | None
    scored: int
    pending: int
    accuracy: float | None
    base_rate_accuracy: float | None
    brier: float | None
    base_rate_brier: float | None
    recent_accuracy: float | None
    regression: RegressionMeasures | None = None


def classes(prediction: Sequence[float], outcome: Sequence[float]) -> tuple[list[float], int] | None:
    """Return the probability of each class and the class that came, or None if there are no classes."""
    if not all(-ROUNDING <= p <= 1 + ROUNDING for p in prediction):
        return None
    if len(prediction) == 1 and len(outcome) == 1 and outcome[0] in (0.0, 1.0):
        return [1.0 - prediction[0], prediction[0]], int(outcome[0])
    if len(prediction) < 2:
        return None
    if len(outcome) == len(prediction) and sorted(outcome) == [0.0] * (len(outcome) - 1) + [1.0]:
        return list(prediction), outcome.index(1.0)
    if len(outcome) == 1 and outcome[0].is_integer() and 0 <= outcome[0] < len(prediction):
        return list(prediction), int(outcome[0])
    return None


def right(probabilities: Sequence[float], came: int) -> bool:
    """Return whether the likeliest class came; of equal ones the last is meant."""
    return max(range(len(probabilities)), key=lambda c: (probabilities[c], c)) == came


def squared_error(probabilities: Sequence[float], came: int, binary: bool) -> float:
    """Return the squared error of the second class' probability (`binary`), else the sum of all classes'."""
    if binary:
        return (probabilities[1] - came) ** 2
    return sum((p - (c == came)) ** 2 for c, p in enumerate(probabilities))


def base_rates(counts: Collection[int], binary: bool) -> tuple[float, float]:
    """Return accuracy and Brier score of a guess by the outcomes' own frequencies; `counts` are those of each class."""
    total = sum(counts)
    shares = [count / total for count in counts]
    spread = 1.0 - sum(share * share for share in shares)
    return max(shares), spread / 2 if binary else spread


@dataclass
class Tally:
    """Running sums of one model's scores."""

    scored: int = 0
    hits: int = 0
    squares: float = 0.0
    counts: dict[int, int] = field(default_factory=dict)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    binary: bool = True
    others: int = 0
    numbers: RegressionSums = field(default_factory=RegressionSums)

    def add(self, score: Score) -> None:
        """Take the next score."""
        self.scored += 1
        self.numbers.add(score.prediction, score.outcome)
        found = classes(score.prediction, score.outcome)
        if found is None:
            self.others += 1
            return
        probabilities, came = found
        self.binary = len(probabilities) == 2
        hit = right(probabilities, came)
        self.hits += hit
        self.recent.append(hit)
        self.counts[came] = self.counts.get(came, 0) + 1
        self.squares += squared_error(probabilities, came, self.binary)

    def summary(self, model: str, symbol: str | None, pending: int) -> Summary:
        """Return the numbers so far."""
        total = sum(self.counts.values())
        if total <= self.others:
            numbers = self.numbers.measures()
            return Summary(model, symbol, self.scored, pending, None, None, None, None, None, numbers)
        base_accuracy, base_brier = base_rates(self.counts.values(), self.binary)
        return Summary(
            model=model,
            symbol=symbol,
            scored=self.scored,
            pending=pending,
            accuracy=self.hits / total,
            base_rate_accuracy=base_accuracy,
            brier=self.squares / total,
            base_rate_brier=base_brier,
            recent_accuracy=sum(self.recent) / len(self.recent),
        )


class ScoreBook:
    """Tallies of a deployment, by model and symbol and by model over all symbols.

    Takes each prediction and score once (see `streams.dedup`), in the order of their topics; a score may come before
    its prediction, since they are in different topics.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str | None], Tally] = {}
        self._waiting: dict[tuple[str, str], list[int]] = {}
        self._scored: dict[tuple[str, str], int] = {}

    def predicted(self, prediction: Prediction) -> None:
        """Count a prediction that waits for its outcome."""
        key = prediction.model, prediction.symbol
        self._tallies.setdefault(key, Tally())
        self._tallies.setdefault((prediction.model, None), Tally())
        if prediction.ordinal > self._scored.get(key, -1):
            self._waiting.setdefault(key, []).append(prediction.ordinal)

    def scored(self, score: Score) -> None:
        """Count a score. Outcomes come in order, so earlier predictions without one were rejected by the label."""
        key = score.model, score.symbol
        for symbol in (score.symbol, None):
            self._tallies.setdefault((score.model, symbol), Tally()).add(score)
        self._scored[key] = max(score.ordinal, self._scored.get(key, -1))
        self._waiting[key] = [o for o in self._waiting.get(key, []) if o > score.ordinal]

    def summaries(self) -> list[Summary]:
        """Return all summaries, by model: over all symbols first, then of each."""
        ordered = sorted(self._tallies, key=lambda key: (key[0], key[1] or ""))
        return [self.summary(model, symbol) for model, symbol in ordered]

    def summary(self, model: str, symbol: str | None) -> Summary:
        """Return one summary."""
        return self._tallies.get((model, symbol), Tally()).summary(model, symbol, self._pending(model, symbol))

    def _pending(self, model: str, symbol: str | None) -> int:
        return sum(len(w) for (m, s), w in self._waiting.items() if m == model and symbol in (None, s))
