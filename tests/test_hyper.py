"""Rules of a training: which models stay, when it stops early, how the learning rate goes on."""

from __future__ import annotations

import pytest

from lit.streams.errors import UserError
from lit.trainer.hyper import Hyper, kept_epochs

LOSSES = [0.9, 0.5, 0.7, 0.4, 0.6, 0.8]
PERF = [{"epoch": float(n), "val_loss": loss, "val_auc": 1 - loss} for n, loss in enumerate(LOSSES, 1)]


@pytest.mark.parametrize(
    ("keep", "monitor", "epochs"),
    [
        ("all", "val_loss", {1, 2, 3, 4, 5, 6}),
        ("best 2", "val_loss", {2, 4, 6}),  # the last stays too, to go on from
        ("best 2", "val_auc", {2, 4, 6}),
        ("every 3", "val_loss", {3, 4, 6}),
        ("every 10", "val_loss", {4, 6}),
    ],
)
def test_models_stay_by_rule_and_the_best_and_the_last_always(keep: str, monitor: str, epochs: set[int]) -> None:
    assert kept_epochs(keep, PERF, Hyper(monitor=monitor)) == epochs


def test_what_is_removed_once_is_never_wanted_again() -> None:
    for keep in ("best 2", "every 2"):
        there: set[int] = set()
        for length in range(1, len(PERF) + 1):
            wanted = kept_epochs(keep, PERF[:length], Hyper())
            assert wanted <= there | {length}, (keep, length)
            there = wanted


@pytest.mark.parametrize("keep", ["some", "best", "best 0", "every x"])
def test_a_rule_that_cannot_be_is_refused(keep: str) -> None:
    with pytest.raises(UserError, match="keep is"):
        Hyper(keep=keep).check()


def test_patience_counts_epochs_since_the_best() -> None:
    assert [Hyper(patience=2).should_stop(PERF[:n]) for n in range(1, 7)] == [False, False, False, False, False, True]
    assert Hyper(monitor="val_auc").best(PERF) == PERF[3]


def test_the_learning_rate_is_a_function_of_what_went_before() -> None:
    flat = [{"epoch": float(n), "val_loss": 1.0} for n in range(1, 9)]
    plateau = Hyper(schedule="plateau", learning_rate=0.8)
    assert [plateau.rate(n, flat) for n in (1, 4, 5, 8)] == [0.8, 0.8, 0.4, 0.2]
    cosine = Hyper(schedule="cosine", learning_rate=1.0, epochs=5)
    assert cosine.rate(1, []) == 1.0 and cosine.rate(5, []) == pytest.approx(0.01)
