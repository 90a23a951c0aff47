"""Settings of a training as the Globals node gives them, and the rules that follow from them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError

#: Metrics of which more is better; of all others, less.
RISING = (
    *("accuracy", "precision", "recall", "f1", "auc", "brier_skill", "balanced_accuracy"),
    *("r2", "correlation", "rank_correlation", "persistence_skill", "direction"),
)
PLATEAU_EPOCHS = 3


@dataclass(frozen=True, slots=True)
class Hyper:
    """How a training goes; see the Globals component for what each means."""

    loss: str = "auto"
    learning_rate: float = 0.001
    schedule: str = "constant"
    batch_size: int = 64
    epochs: int = 20
    patience: int = 0
    monitor: str = "val_loss"
    metrics: str = ""
    threshold: float = 0.5
    class_weights: str = "none"
    clip_norm: float = 0.0
    seed: int = 0
    keep: str = "all"

    @classmethod
    def of(cls, settings: dict[str, Any], epochs: int | None = None) -> Hyper:
        """Take what is known of `settings`; a team's own Globals component may have more or fewer."""
        known = {item.name for item in fields(cls)}
        chosen = {name: value for name, value in settings.items() if name in known}
        hyper = cls(**chosen | ({"epochs": epochs} if epochs is not None else {}))
        hyper.check()
        return hyper

    def check(self) -> None:
        """Raise `UserError` if a value cannot be."""
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not self.learning_rate > 0:
            raise UserError(f"learning_rate is {self.learning_rate}: it must be above 0")
        kept_epochs(self.keep, [])

    @property
    def rising(self) -> bool:
        """Whether more of the monitored column is better."""
        return self.monitor.removeprefix("val_") in RISING

    def best(self, perf: Sequence[dict[str, float]]) -> dict[str, float] | None:
        """Return the best row of perf.csv by the monitored column; the earliest of equals."""
        rows = [row for row in perf if not math.isnan(row.get(self.monitor, math.nan))]
        if not rows:
            return None
        return (max if self.rising else min)(rows, key=lambda row: row[self.monitor])

    def should_stop(self, perf: Sequence[dict[str, float]]) -> bool:
        """Tell whether patience has run out."""
        best = self.best(perf)
        return bool(self.patience and best and perf[-1]["epoch"] - best["epoch"] >= self.patience)

    def rate(self, epoch: int, perf: Sequence[dict[str, float]]) -> float:
        """Return the learning rate of an epoch (from 1), a pure function of what went before."""
        if self.schedule == "cosine":
            share = min(1.0, (epoch - 1) / max(1, self.epochs - 1))
            return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        if self.schedule == "exponential":
            return self.learning_rate * float(0.95 ** (epoch - 1))
        if self.schedule == "plateau":
            return self.learning_rate * float(0.5 ** self._plateaus(perf[: epoch - 1]))
        return self.learning_rate

    def _plateaus(self, perf: Sequence[dict[str, float]]) -> int:
        count, since, best = 0, 0, math.inf
        for row in perf:
            value = row.get(self.monitor, math.nan) * (-1 if self.rising else 1)
            since = 0 if value < best else since + 1
            best = min(best, value)
            if since == PLATEAU_EPOCHS:
                count, since = count + 1, 0
        return count


def kept_epochs(keep: str, perf: Sequence[dict[str, float]], hyper: Hyper | None = None) -> set[int]:
    """Return the epochs whose models stay: of `all`, `best N` or `every N`; best and last always do.

    Raises
    ------
    UserError
        If `keep` is none of these.
    """
    found = re.fullmatch(r"all|(best|every)\s+(\d+)", keep.strip())
    if not found or found[2] == "0":
        raise UserError(f"keep is {keep!r}: use all, best N or every N, such as best 5")
    epochs = [int(row["epoch"]) for row in perf]
    if found[1] is None or not perf or hyper is None:
        return set(epochs)
    number = int(found[2])
    ranked = sorted(perf, key=lambda row: row[hyper.monitor] * (-1 if hyper.rising else 1))
    kept = {int(row["epoch"]) for row in ranked[: number if found[1] == "best" else 1]} | {epochs[-1]}
    return kept | ({epoch for epoch in epochs if epoch % number == 0} if found[1] == "every" else set())


def class_weights(text: str, labels: npt.NDArray[np.float32]) -> dict[int, float]:
    """Read `none`, `balanced` or `0:1, 1:3` as weights by class number; empty: all count the same.

    Raises
    ------
    UserError
        If the text is none of these.
    """
    if text.strip() in ("", "none"):
        return {}
    if text.strip() == "balanced":
        classes, counts = np.unique(labels.astype(np.int64), return_counts=True)
        weights = counts.sum() / (len(classes) * counts)
        return {int(number): float(weight) for number, weight in zip(classes, weights, strict=True)}
    try:
        pairs = [item.split(":") for item in text.split(",")]
        return {int(number): float(weight) for number, weight in pairs}
    except ValueError as error:
        raise UserError(f"class_weights is {text!r}: use none, balanced, or weights such as 0:1, 1:3") from error
