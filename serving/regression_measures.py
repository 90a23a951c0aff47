"""How good numbers were that were predicted: errors, and whether the sign was right. Pure; sums that add up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from lit.streams.tick import Float64Array

#: Rows of the sums: of the errors (absolute, squared), of prediction and outcome less the first outcome, of their
#: products, and how often a sign was right, above 0, below 0.
_ROWS = 10


class RegressionMeasures(msgspec.Struct, frozen=True):
    """Measures of predicted numbers; where the label has several, each column counts as much.

    Parameters
    ----------
    mae, rmse
        Mean absolute error; root of the mean squared error.
    base_rmse
        That of always saying the outcomes' mean, known in hindsight: a hard measure.
    r2
        1 - squared error / that of the mean; null if the outcomes did not vary.
    correlation
        Pearson's, the mean over columns; 0 for a column that did not vary.
    sign_accuracy, base_sign_accuracy
        Of outcomes other than 0, how many had the sign that was said; what always saying the more frequent sign would
        have got. Null if all were 0.
    """

    mae: float
    rmse: float
    base_rmse: float
    r2: float | None
    correlation: float
    sign_accuracy: float | None
    base_sign_accuracy: float | None


def signs_right(prediction: Sequence[float], outcome: Sequence[float]) -> bool:
    """Return whether each number that came had the sign that was said."""
    return all(p * o > 0 or p == o for p, o in zip(prediction, outcome, strict=True))


def mean_squared_error(prediction: Sequence[float], outcome: Sequence[float]) -> float:
    """Return the mean over the columns."""
    return sum((p - o) ** 2 for p, o in zip(prediction, outcome, strict=True)) / len(outcome)


class RegressionSums:
    """Sums over (prediction, outcome); what does not compare (other columns than the first had, NaN) is left out."""

    def __init__(self, rows: Iterable[tuple[Sequence[float], Sequence[float]]] = ()) -> None:
        self.count = 0
        self._origin: Float64Array | None = None
        self._sums: Float64Array = np.zeros((_ROWS, 0))
        for prediction, outcome in rows:
            self.add(prediction, outcome)

    def add(self, prediction: Sequence[float], outcome: Sequence[float]) -> None:
        """Take what was said and what came."""
        p, o = np.array(prediction, np.float64), np.array(outcome, np.float64)
        if p.shape != o.shape or not np.isfinite(p).all() or not np.isfinite(o).all() or not o.size:
            return
        if self._origin is None:  # else the variance of prices would be lost in their height
            self._origin, self._sums = o, np.zeros((_ROWS, len(o)))
        elif self._origin.shape != o.shape:
            return
        x, y, error = p - self._origin, o - self._origin, p - o
        self.count += 1
        self._sums += (abs(error), error**2, x, y, x * x, y * y, x * y, p * o > 0, o > 0, o < 0)

    def measures(self) -> RegressionMeasures | None:
        """Return the measures, None of nothing."""
        if not self.count:
            return None
        mae, mse, x, y, xx, yy, xy, right, above, below = self._sums / self.count
        spread = np.maximum(yy - y * y, 0.0)
        scale = np.sqrt(np.maximum(xx - x * x, 0.0) * spread)
        varies = scale > 0
        related = np.where(varies, (xy - x * y) / np.where(varies, scale, 1.0), 0.0)
        error, base, moved = float(mse.mean()), float(spread.mean()), float((above + below).mean())
        return RegressionMeasures(
            mae=float(mae.mean()),
            rmse=math.sqrt(error),
            base_rmse=math.sqrt(base),
            r2=1 - error / base if base > 0 else None,
            correlation=float(np.clip(related, -1.0, 1.0).mean()),
            sign_accuracy=float(right.mean()) / moved if moved else None,
            base_sign_accuracy=float(np.maximum(above, below).mean()) / moved if moved else None,
        )
