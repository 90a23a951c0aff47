"""Validation in time: folds of the training samples whose labels never overlap with those they are judged by.

A label at time t is known at t + horizon. A training sample whose span [t, t + horizon] meets that of any validation
sample would carry what it is judged by, so it is purged; an embargo keeps a further distance (López de Prado, Advances
in Financial Machine Learning, ch. 7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError

KINDS = ("walk", "purged")
_NANOS = 1_000_000_000
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fold:
    """One of several ways to divide the training samples.

    Attributes
    ----------
    number, count : int
        Which fold, from 1, and of how many.
    horizon : float
        How far labels look ahead, in seconds.
    embargo : float
        Further distance between training and validation, in seconds.
    kind : str
        `walk` (walk-forward): trains on what lies before the validation samples, more from fold to fold. `purged`
        (k-fold): trains on what lies after them too.
    """

    number: int
    count: int
    horizon: float
    embargo: float = 0.0
    kind: str = "walk"

    def check(self) -> None:
        """Raise `UserError` if a value cannot be."""
        if self.kind not in KINDS:
            raise UserError(f"kind of folds is {self.kind!r}: use {' or '.join(KINDS)}")
        if self.count < 2 or not 1 <= self.number <= self.count:
            raise UserError(f"fold {self.number} of {self.count} cannot be: have 2 folds or more, counted from 1")
        if not (self.horizon >= 0 and self.embargo >= 0):
            raise UserError(f"horizon is {self.horizon}, embargo {self.embargo}: neither may be below 0")


def rows_of(fold: Fold, timestamps: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Return the rows to train on and to validate on, ascending.

    Parameters
    ----------
    timestamps
        Times of the samples, ns, in any order. Samples of one time stay together.

    Raises
    ------
    UserError
        If either would be empty.
    """
    fold.check()
    blocks = fold.count + (fold.kind == "walk")  # walking forward, the first block is only trained on
    at = fold.number - (fold.kind != "walk")
    ordered = np.sort(timestamps)
    edges = [ordered[len(ordered) * number // blocks] for number in range(1, blocks)] if len(ordered) else []
    block = np.searchsorted(np.array(edges, np.int64), timestamps, side="right")
    validation = np.flatnonzero(block == at)
    horizon, embargo = round(fold.horizon * _NANOS), round(fold.embargo * _NANOS)
    if len(validation):
        first, last = timestamps[validation].min(), timestamps[validation].max()
        allowed = timestamps + horizon + embargo < first
        if fold.kind == "purged":
            allowed |= timestamps > last + horizon + embargo
        train = np.flatnonzero(allowed)
        if len(train):
            return train, validation
    raise UserError(
        f"fold {fold.number} of {fold.count} has no samples to {'train on' if len(validation) else 'validate on'}: "
        f"have fewer folds, a shorter horizon ({fold.horizon:g} s) or embargo ({fold.embargo:g} s), or more data"
    )
