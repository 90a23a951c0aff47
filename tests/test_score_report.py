"""Measures, reliability and comparison of models against their definitions; drift against known shifts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.serving.drift import BINS as DRIFT_BINS
from lit.serving.drift import ENOUGH, DriftTally, reference_of
from lit.serving.score_report import RECENT, Measures, ScoreReports, paired
from lit.streams.records import Score
from lit.trainer.metrics import auc, calibration, calibration_error


def score(ordinal: int, p: list[float], outcome: list[float], model: str = "m", symbol: str = "A") -> Score:
    return Score("d", model, symbol, "1minute", "", ordinal, p, "", ordinal, "", 0.0, outcome)


#: Probabilities that lie within bins, so that a thousandth is exact.
ROWS = st.lists(st.tuples(st.integers(0, 999).map(lambda n: (n + 0.5) / 1000), st.booleans()), min_size=1, max_size=80)


@given(ROWS)
def test_measures_equal_those_of_training(rows: list[tuple[float, bool]]) -> None:
    reports = ScoreReports()
    for ordinal, (p, came) in enumerate(rows):
        reports.add(score(ordinal, [p], [float(came)]))
    found = reports.report("m", False)
    p, came = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    since = found.since_start
    assert since == found.recent and since.scored == len(rows)
    assert since.brier == pytest.approx(((p - came) ** 2).mean())
    assert since.base_rate_brier == pytest.approx(((came.mean() - came) ** 2).mean())
    assert since.accuracy == pytest.approx(((p >= 0.5) == came).mean())
    assert since.calibration_error == pytest.approx(calibration_error(came, p))
    if came.all() or not came.any():
        assert since.auc is None
    else:
        assert since.auc == pytest.approx(auc(came, p))
    expected = calibration(came, p)
    assert [(b.count, pytest.approx(b.predicted), pytest.approx(b.observed)) for b in found.calibration] == [
        (b["count"], b["prediction"], b["frequency"]) for b in expected
    ]


def test_lately_is_the_last_scores_alone_and_what_left_leaves_no_trace() -> None:
    rng = np.random.default_rng(1)
    rows = [(float(p), float(rng.random() < p)) for p in np.round(rng.random(RECENT * 3), 3)]
    whole, late = ScoreReports(), ScoreReports()
    for ordinal, (p, came) in enumerate(rows):
        whole.add(score(ordinal, [p], [came]))
    for ordinal, (p, came) in enumerate(rows[-RECENT:]):
        late.add(score(ordinal, [p], [came]))
    a, b = whole.recent("m"), late.report("m", False).since_start
    assert a.scored == RECENT and whole.report("m", False).since_start.scored == len(rows)
    for name in Measures.__struct_fields__:
        assert getattr(a, name) == pytest.approx(getattr(b, name)), name


def test_models_are_compared_on_bars_that_both_were_scored_at_and_the_better_one_is_found() -> None:
    rng = np.random.default_rng(2)
    reports = ScoreReports()
    for ordinal in range(600):
        truth = float(rng.random() < 0.5)
        good = 0.8 if (truth == 1) == (rng.random() < 0.8) else 0.2
        reports.add(score(ordinal, [0.5 + rng.normal(0, 0.1)], [truth], "old"))
        if ordinal >= 100:
            reports.add(score(ordinal, [good], [truth], "new"))
    found = reports.compare("old", "new")
    assert found.bars == 500 and found.better == "new"
    assert found.low > 0 and found.mcnemar_p < 1e-6 and found.only_challenger_right > found.only_champion_right
    back = reports.compare("new", "old")
    assert back.better == "new" and back.brier_difference == pytest.approx(-found.brier_difference)
    same = reports.compare("old", "old")
    assert (same.better, same.mcnemar_p, same.brier_difference) == (None, 1.0, 0.0)
    assert reports.compare("old", "unknown").bars == 0


def test_mcnemar_is_the_exact_binomial_test_and_the_interval_covers_what_it_should() -> None:
    both = [((1, 0.1), (0, 0.5))] * 2 + [((0, 0.5), (1, 0.1))] * 9 + [((1, 0.1), (1, 0.1))] * 30
    exact = 2 * sum(sum(1 for c in itertools.combinations(range(11), k)) for k in range(3)) / 2**11
    assert paired("a", "b", both).mcnemar_p == pytest.approx(exact)
    rng, covered = np.random.default_rng(3), 0
    for _ in range(300):
        noise = rng.normal(0, 1, 402)
        series = 0.05 + noise[2:] + noise[1:-1] + noise[:-2]  # neighbours resemble each other
        found = paired("a", "b", [((0, d), (0, 0.0)) for d in series.tolist()])
        covered += found.low <= 0.05 <= found.high
    assert covered / 300 > 0.88  # an interval that took bars for independent would hold it in three of four


def test_drift_is_nothing_for_the_same_distribution_and_large_for_a_shifted_column() -> None:
    rng = np.random.default_rng(4)
    trained = rng.normal(size=(5000, 3, 2))
    reference = reference_of("sha256:x", {"bars": ["close", "volume"]}, {"bars": trained})
    assert all(len(counts) == DRIFT_BINS for counts in reference.counts["bars"])
    tally = DriftTally(reference)
    for number in range(400):
        if number < ENOUGH - 1:
            assert tally.values() == {}
        sample = rng.normal(size=(3, 2))
        sample[-1, 1] += 1.0
        tally.add({"bars": sample})
    found = tally.values()
    assert found["bars.close"] < 0.1 and found["bars.volume"] > 0.5


def test_a_constant_column_does_not_drift_until_it_moves() -> None:
    reference = reference_of("x", {"flag": ["flag"]}, {"flag": np.ones((500, 1))})
    still, moved = DriftTally(reference), DriftTally(reference)
    for _ in range(ENOUGH):
        still.add({"flag": np.ones(1)})
        moved.add({"flag": np.zeros(1)})
    assert still.values() == {"flag.flag": 0.0} and moved.values()["flag.flag"] > 1
