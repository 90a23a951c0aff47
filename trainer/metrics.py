"""How good predictions are, each number beside what a guess without a model would get. NumPy only, no Keras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
_TINY = 1e-7
_BINS = 10


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known without a model: means (share of yes, shares of classes) of the training labels."""

    mean: Values

    @classmethod
    def of(cls, labels: npt.NDArray[np.float32], classes: int = 0) -> Baseline:
        """Take the baseline from training labels (n, columns), or of class numbers (n, 1) with `classes`."""
        if classes:
            counts = np.bincount(labels[:, 0].astype(np.int64), minlength=classes)
            return cls(counts / max(1, len(labels)))
        return cls(labels.mean(axis=0, dtype=np.float64))


def evaluate(
    task: str,
    labels: npt.NDArray[np.float32],
    predictions: npt.NDArray[np.float32],
    baseline: Baseline,
    threshold: float = 0.5,
    persistence: npt.NDArray[np.float32] | None = None,
) -> dict[str, float]:
    """Return the metrics of a task by name.

    Parameters
    ----------
    task
        `binary`, `classes` (labels are one-hot) or `regression`.
    labels, predictions
        (n, columns) each.
    baseline
        From the training labels.
    threshold
        Prediction from which a binary label counts as predicted yes.
    persistence
        (n, columns), regression only: what "nothing changes" predicts (`lit.trainer.persistence`); NaN where it is not
        known.
    """
    y, p = labels.astype(np.float64), predictions.astype(np.float64)
    if task == "binary":
        return _binary(y, p, baseline, threshold)
    return _classes(y, p, baseline) if task == "classes" else _regression(y, p, baseline, persistence)


def _binary(y: Values, p: Values, baseline: Baseline, threshold: float) -> dict[str, float]:
    said, is_so = p >= threshold, y >= 0.5
    right = float(np.sum(said & is_so))
    precision, recall = _ratio(right, float(said.sum())), _ratio(right, float(is_so.sum()))
    brier = float(np.mean((p - y) ** 2))
    base_brier = float(np.mean((baseline.mean - y) ** 2))
    return {
        "accuracy": float(np.mean(said == is_so)),
        "precision": precision,
        "recall": recall,
        "f1": _ratio(2 * precision * recall, precision + recall),
        "auc": auc(is_so.ravel(), p.ravel()),
        "brier": brier,
        "brier_skill": 1 - _ratio(brier, base_brier),
        "calibration_error": calibration_error(is_so.ravel(), p.ravel()),
        "base_rate": float(np.mean(is_so)),
        "base_accuracy": float(np.mean((baseline.mean >= 0.5) == is_so)),
        "base_brier": base_brier,
        "base_loss": _log_loss(y, np.broadcast_to(baseline.mean, y.shape)),
    }


def _classes(y: Values, p: Values, baseline: Baseline) -> dict[str, float]:
    truth, said = y.argmax(axis=1), p.argmax(axis=1)
    recalls = [float(np.mean(said[truth == number] == number)) for number in np.unique(truth)]
    guess = np.broadcast_to(np.clip(baseline.mean, _TINY, 1), y.shape)
    return {
        "accuracy": float(np.mean(truth == said)),
        "balanced_accuracy": float(np.mean(recalls)) if recalls else 0.0,
        "brier": float(np.mean(np.sum((p - y) ** 2, axis=1))),
        "base_accuracy": float(np.mean(truth == int(baseline.mean.argmax()))),
        "base_brier": float(np.mean(np.sum((baseline.mean - y) ** 2, axis=1))),
        "base_loss": float(np.mean(-np.sum(y * np.log(guess), axis=1))),
    }


def _regression(
    y: Values, p: Values, baseline: Baseline, persistence: npt.NDArray[np.float32] | None
) -> dict[str, float]:
    squared = float(np.mean((p - y) ** 2))
    base = float(np.mean((baseline.mean - y) ** 2))
    found = {
        "mae": float(np.mean(np.abs(p - y))),
        "rmse": squared**0.5,
        "r2": 1 - _ratio(squared, base),
        "correlation": correlation(y, p),
        "rank_correlation": correlation(_ranks(y), _ranks(p)),
        "base_mae": float(np.mean(np.abs(baseline.mean - y))),
        "base_rmse": base**0.5,
    }
    return found if persistence is None else found | _against(persistence.astype(np.float64), y, p)


def _against(same: Values, y: Values, p: Values) -> dict[str, float]:
    """Compare with persistence where it is known; empty if it never is.

    `direction` is how often the prediction lies on that side of the last known label on which the label came to lie,
    among labels that differ from it; `base_direction` is what always saying the side seen more often would get.
    """
    known = np.isfinite(same).all(axis=1)
    if not known.any():
        return {}
    same, y, p = same[known], y[known], p[known]
    squared = float(np.mean((same - y) ** 2))
    moved = y != same
    up, said_up = (y > same)[moved], (p > same)[moved]
    ups = float(up.mean()) if up.size else 0.0
    return {
        "persistence_mae": float(np.mean(np.abs(same - y))),
        "persistence_rmse": squared**0.5,
        "persistence_skill": 1 - _ratio(float(np.mean((p - y) ** 2)), squared),
        "direction": float(np.mean(up == said_up)) if up.size else 0.0,
        "base_direction": max(ups, 1 - ups) if up.size else 0.0,
    }


def correlation(first: Values, second: Values) -> float:
    """Return Pearson's correlation, the mean over columns (n, columns); 0 for a column that does not vary."""
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    varies = scale > 0
    return float(np.mean(np.where(varies, (a * b).sum(axis=0) / np.where(varies, scale, 1.0), 0.0)))


def _ranks(values: Values) -> Values:
    """Return the ranks of each column (n, columns) from 1, ties having their mean."""
    return np.stack([_mean_ranks(column) for column in values.T], axis=1)


def _mean_ranks(values: Values) -> Values:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]


def auc(is_so: npt.NDArray[np.bool_], scores: Values) -> float:
    """Return the area under the ROC curve: how often a yes scores above a no, ties counting half; 0.5 if one-sided."""
    positive = int(is_so.sum())
    negative = len(is_so) - positive
    if not positive or not negative:
        return 0.5
    total = float(_mean_ranks(scores)[is_so].sum())
    return (total - positive * (positive + 1) / 2) / (positive * negative)


def calibration_error(is_so: npt.NDArray[np.bool_], p: Values) -> float:
    """Return the expected calibration error: mean gap between prediction and frequency over ten equal bins."""
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    said = np.bincount(bins, weights=p, minlength=_BINS)
    seen = np.bincount(bins, weights=is_so, minlength=_BINS)
    return float(np.abs(said - seen).sum() / max(1, len(p)))


def calibration(is_so: npt.NDArray[np.bool_], p: Values) -> list[dict[str, float]]:
    """Return the reliability diagram: per bin that has samples, mean prediction, frequency of yes, and count."""
    bins = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    return [
        {
            "prediction": float(p[bins == number].mean()),
            "frequency": float(is_so[bins == number].mean()),
            "count": int((bins == number).sum()),
        }
        for number in np.unique(bins)
    ]


def _log_loss(y: Values, p: Values) -> float:
    p = np.clip(p, _TINY, 1 - _TINY)
    return float(np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p))))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
