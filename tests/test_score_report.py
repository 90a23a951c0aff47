"""Measures, reliability and comparison of models against their definitions; drift against known shifts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from lit.serving.comparison import paired
from lit.serving.drift import BINS as DRIFT_BINS
from lit.serving.drift import ENOUGH, DriftTally, Shift, drift_of, reference_of
from lit.serving.score_report import RECENT, Measures, ScoreReports
from lit.serving.score_summary import ScoreBook
from lit.streams.records import Score
from lit.streams.tick import iso
from lit.trainer.metrics import Baseline, auc, calibration, calibration_error, evaluate


def score(ordinal: int, p: list[float], outcome: list[float], model: str = "m", symbol: str = "A") -> Score:
    start = iso(ordinal * 60 * 10**9)
    return Score("d", model, symbol, "1minute", start, ordinal, p, "", ordinal, "", 0.0, outcome)


#: Probabilities that lie within bins of the ROC curve, so that it is exact.
ROWS = st.lists(st.tuples(st.integers(0, 999).map(lambda n: (n + 0.5) / 1000), st.booleans()), min_size=1, max_size=80)


@given(ROWS)
def test_measures_equal_those_of_training(rows: list[tuple[float, bool]]) -> None:
    reports = ScoreReports()
    for ordinal, (p, came) in enumerate(rows):
        reports.add(score(ordinal, [p], [float(came)]))
    found = reports.report("m", False)
    p, came = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    since = found.since_start
    for name in Measures.__struct_fields__:
        assert getattr(since, name) == pytest.approx(getattr(found.recent, name)), name
    assert since.scored == len(rows)
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


def test_the_last_scores_are_the_last_by_time_whatever_topic_is_read_first() -> None:
    rows = [score(n, [0.75], [float(n < 100)]) for n in range(RECENT + 100)]
    there, back = ScoreReports(), ScoreReports()
    for row in rows:
        there.add(row)
    for row in [*rows[300:], *rows[:300]]:
        back.add(row)
    assert there.recent("m") == back.recent("m") and there.recent("m").accuracy == 0
    assert there.report("m", False) == back.report("m", False)


def test_the_auc_of_predictions_that_hardly_differ_is_that_of_scikit_learn() -> None:
    rng, reports = np.random.default_rng(5), ScoreReports()
    came = rng.random(400) < 0.5
    p = 0.5 + 0.0004 * (rng.normal(size=400) + came)  # as of a model that is never sure
    for ordinal, (said, yes) in enumerate(zip(p.tolist(), came.tolist(), strict=True)):
        reports.add(score(ordinal, [said], [float(yes)]))
    expected = sklearn_metrics.roc_auc_score(came, p)
    assert expected > 0.7
    assert reports.recent("m").auc == pytest.approx(expected)
    assert reports.report("m", False).since_start.auc == pytest.approx(expected, abs=0.005)
    assert reports.recent("m").brier == pytest.approx(sklearn_metrics.brier_score_loss(came, p))


def test_a_regression_whose_outcome_is_sometimes_zero_is_no_classifier_and_a_logit_is_no_probability() -> None:
    reports, book = ScoreReports(), ScoreBook()
    for ordinal in range(9):
        row = score(ordinal, [0.01 * ordinal], [0.0 if ordinal % 3 == 0 else 0.002 * ordinal])
        reports.add(row)
        book.scored(row)
        reports.add(score(ordinal, [3.0 - ordinal], [float(ordinal % 2)], "logits"))
    for model in ("m", "logits"):
        found = reports.report(model, False)
        since = found.since_start
        assert (since.scored, since.accuracy, since.brier, since.auc) == (9, None, None, None), model
        assert since == found.recent and since.regression is not None and found.calibration == []
    assert (book.summary("m", None).scored, book.summary("m", None).accuracy) == (9, None)


NUMBERS = st.lists(
    st.tuples(*[st.floats(-50, 50, allow_subnormal=False).map(lambda x: round(x, 3))] * 4), min_size=2, max_size=60
)


@given(NUMBERS, st.sampled_from([0.0, 1e5]))
def test_measures_of_numbers_equal_those_of_training(rows: list[tuple[float, ...]], height: float) -> None:
    said, came = (np.array(rows)[:, columns] + height for columns in ((0, 1), (2, 3)))
    reports = ScoreReports()
    for ordinal, (p, o) in enumerate(zip(said.tolist(), came.tolist(), strict=True)):
        reports.add(score(ordinal, p, o))
    found = reports.report("m", False)
    since, recent = found.since_start.regression, found.recent.regression
    assert since is not None and since == recent and found.recent.scored == len(rows)
    labels, predictions = came.astype(np.float64), said.astype(np.float64)
    expected = evaluate("regression", labels, predictions, Baseline(came.mean(axis=0)))  # type: ignore[arg-type]
    for name in ("mae", "rmse", "base_rmse"):
        assert getattr(since, name) == pytest.approx(expected[name], abs=1e-3), name
    if came.var(axis=0).min() > 0.01 and said.var(axis=0).min() > 0.01:
        assert since.r2 == pytest.approx(expected["r2"], rel=1e-3, abs=1e-3)
        assert since.correlation == pytest.approx(expected["correlation"], abs=1e-3)
    moved = came != 0
    if moved.any():
        assert since.sign_accuracy == pytest.approx((np.sign(said) == np.sign(came))[moved].mean())
        base = np.maximum((came > 0).sum(axis=0), (came < 0).sum(axis=0)).sum() / moved.sum()
        assert since.base_sign_accuracy == pytest.approx(base)


def test_what_does_not_compare_is_counted_and_changes_no_measure() -> None:
    reports = ScoreReports()
    for ordinal, (p, o) in enumerate([([1.5], [2.0]), ([2.5], [2.0]), ([1.0, 2.0], [3.0]), ([math.nan], [3.0])]):
        reports.add(score(ordinal, p, o))
    found = reports.report("m", False).since_start
    assert found.scored == 4 and found.regression is not None
    assert (found.regression.mae, found.regression.rmse, found.regression.base_rmse) == (0.5, 0.5, 0.0)
    assert (found.regression.r2, found.regression.sign_accuracy) == (None, 1.0)


def test_of_two_models_that_say_numbers_the_one_with_smaller_errors_is_found_and_signs_are_compared() -> None:
    rng, reports = np.random.default_rng(8), ScoreReports()
    for ordinal in range(400):
        came = float(np.round(rng.normal(0, 1e-3), 6)) if ordinal % 5 else 0.0  # a return is 0 now and then
        reports.add(score(ordinal, [came + rng.normal(0, 1e-3)], [came], "near"))
        reports.add(score(ordinal, [came + rng.normal(0, 3e-3)], [came], "far"))
        reports.add(score(ordinal, [0.5], [float(came > 0)], "classes"))
    found = reports.compare("far", "near")
    assert (found.bars, found.better) == (400, "near")
    assert found.only_challenger_right > found.only_champion_right > 0 and found.mcnemar_p < 0.01
    assert reports.compare("far", "classes").bars == 0


def test_two_classes_are_measured_alike_whether_the_model_has_one_output_or_two() -> None:
    reports, book = ScoreReports(), ScoreBook()
    for ordinal, (p, came) in enumerate([(0.2, 0.0), (0.7, 1.0), (0.6, 0.0)]):
        for row in (score(ordinal, [p], [came], "one"), score(ordinal, [1 - p, p], [came], "two")):
            reports.add(row)
            book.scored(row)
    assert reports.recent("one").brier == pytest.approx(reports.recent("two").brier)
    one, two = book.summary("one", None), book.summary("two", None)
    assert (one.brier, one.base_rate_brier) == pytest.approx((two.brier, two.base_rate_brier))


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


def test_symbols_that_move_together_are_no_more_evidence_than_one() -> None:
    rng, wrong = np.random.default_rng(6), 0
    for _ in range(200):
        moments = rng.normal(0, 1, 100)  # neither is better: moments differ, and 20 symbols do as one
        series, times = np.repeat(moments, 20).tolist(), np.repeat(np.arange(100), 20).tolist()
        together = paired("a", "b", [((0, d), (0, 0.0)) for d in series], times)
        alone = paired("a", "b", [((0, d), (0, 0.0)) for d in moments.tolist()])
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high)) and together.bars == 2000
        wrong += together.better is not None
    assert wrong / 200 < 0.12  # as if apart, it would be two in three
    reports = ScoreReports()
    for ordinal in range(60):
        for number, symbol in enumerate("AB"):
            reports.add(score(ordinal, [0.5], [1.0], "old", symbol))
            reports.add(score(ordinal, [0.6 + 0.1 * (ordinal % 2) + 0.01 * number], [1.0], "new", symbol))
    assert reports.compare("old", "new").better == "new"


def test_a_few_bars_make_no_model_better() -> None:
    rows = [((1, 0.1), (1, 0.2)), ((1, 0.1), (1, 0.21))] * 14
    assert paired("a", "b", rows).better is None
    assert paired("a", "b", rows + rows).better == "a"


def test_drift_is_nothing_for_the_same_distribution_and_large_for_a_shifted_column() -> None:
    rng = np.random.default_rng(4)
    trained = rng.normal(size=(5000, 3, 2))
    reference = reference_of("sha256:x", {"bars": ["close", "volume"]}, {"bars": trained})
    assert all(len(counts) == DRIFT_BINS for counts in reference.counts["bars"])
    tally = DriftTally(reference)
    for number in range(400):
        if number < ENOUGH:
            assert drift_of([tally.values()]) == {}
        sample = rng.normal(size=(3, 2))
        sample[-1, 1] += 1.0
        tally.add({"bars": sample})
    found = drift_of([tally.values()])
    assert found["bars.close"] < 0.1 and found["bars.volume"] > 0.5


@pytest.mark.parametrize("there", [0.0, 2.0])
def test_a_constant_column_does_not_drift_until_it_moves_to_either_side(there: float) -> None:
    reference = reference_of("x", {"flag": ["flag"]}, {"flag": np.full((500, 1), 1 / 3)})
    still, moved = DriftTally(reference), DriftTally(reference)
    for _ in range(ENOUGH):
        still.add({"flag": np.full(1, 1 / 3, np.float32)})
        moved.add({"flag": np.full(1, there, np.float32)})
    assert drift_of([still.values()]) == {"flag.flag": 0.0} and drift_of([moved.values()])["flag.flag"] > 1


def test_partitions_of_one_symbol_each_are_compared_with_the_asset_of_all_together() -> None:
    rng = np.random.default_rng(7)
    prices = {"BAC": 14.0, "IBM": 180.0, "GE": 24.0}
    trained = np.concatenate([rng.normal(price, 1, (1000, 1)) for price in prices.values()])
    reference = reference_of("x", {"bar": ["close"]}, {"bar": trained})
    parts = [DriftTally(reference), DriftTally(reference)]
    for _ in range(700):  # more than a partition keeps: that of two symbols still weighs twice as much
        for symbol, price in prices.items():
            parts[symbol == "IBM"].add({"bar": rng.normal(price, 1, 1)})
    apart = [drift_of([part.values()])["bar.close"] for part in parts]
    assert min(apart) > 1 and drift_of([part.values() for part in parts])["bar.close"] < 0.1
    # by hand: two bins, three in four here, one in two there
    by_hand = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    shift = Shift([50, 50], [300, 100], 400)
    assert drift_of([{"a": shift}])["a"] == pytest.approx(by_hand, abs=1e-6)


def test_models_whose_topics_are_read_one_after_the_other_are_compared_on_their_latest_bars(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lit.serving.score_report.COMPARED", 20)
    reports = ScoreReports()
    for model in ("one", "two"):
        for ordinal in range(90):
            reports.add(score(ordinal, [0.9 if model == "one" or ordinal < 75 else 0.1], [1.0], model))
    found = reports.compare("one", "two")
    assert found.bars == 20 and found.only_champion_right == 15
