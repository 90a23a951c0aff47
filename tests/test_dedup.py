"""A reader's rule against repeats, and the sums over scores against their definitions."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.serving.score_summary import ScoreBook, Summary, classes
from lit.streams.dedup import Dedup
from lit.streams.records import Bar, Prediction, Score


def bar(symbol: str, ordinal: int, interval: str = "1minute") -> Bar:
    return Bar(symbol, interval, "", "", 1, 1, 1, 1, 1, 1, 1, 1, ordinal * 10, ordinal * 10 + 9, ordinal)


def prediction(ordinal: int, value: list[float], symbol: str = "A", model: str = "m") -> Prediction:
    return Prediction("d", model, symbol, "1minute", "", ordinal, value, "", ordinal, "", 0.0)


def score(ordinal: int, value: list[float], outcome: list[float], symbol: str = "A", model: str = "m") -> Score:
    return Score(**msgspec.structs.asdict(prediction(ordinal, value, symbol, model)), outcome=outcome)


@given(st.data())
def test_each_record_counts_once_however_often_stretches_are_repeated(data: st.DataObject) -> None:
    whole = [bar("AB"[n % 2], n // 2) for n in range(20)]
    sent: list[Bar] = []
    for place in sorted(data.draw(st.lists(st.integers(0, 20), max_size=6))):
        sent += whole[len(set(sent)) : place]
        again = data.draw(st.integers(0, place))
        sent += whole[again:place]  # a successor sends again what it does not know to be there
    sent += whole[len({(b.symbol, b.ordinal) for b in sent}) :]
    assert Dedup().fresh(sent) == whole


def test_sequences_do_not_disturb_each_other() -> None:
    dedup = Dedup()
    records = [bar("A", 5), bar("A", 0, "5minute"), bar("B", 0), prediction(0, [0.5]), prediction(0, [0.5], model="n"),
               score(0, [0.5], [1.0])]  # fmt: skip
    assert all(dedup.is_new(record) for record in records)
    assert not any(dedup.is_new(record) for record in records)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0]), st.sampled_from("AB")), min_size=1))
def test_sums_of_binary_scores_equal_their_definitions(rows: list[tuple[float, float, str]]) -> None:
    book = ScoreBook()
    for ordinal, (p, came, symbol) in enumerate(rows):
        book.predicted(prediction(ordinal, [p], symbol))
        book.scored(score(ordinal, [p], [came], symbol))
    p, came = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    hits = (p >= 0.5) == (came == 1)
    found = book.summary("m", None)
    assert found.scored == len(rows) and found.pending == 0
    assert found.accuracy == pytest.approx(hits.mean())
    assert found.recent_accuracy == pytest.approx(hits[-50:].mean())
    assert found.brier == pytest.approx(((p - came) ** 2).mean())
    assert found.base_rate_accuracy == pytest.approx(max(came.mean(), 1 - came.mean()))
    assert found.base_rate_brier == pytest.approx(((came.mean() - came) ** 2).mean())
    symbols = sorted({r[2] for r in rows})
    assert [s.symbol for s in book.summaries()] == [None, *symbols]
    assert sum(s.scored for s in book.summaries() if s.symbol) == len(rows)


def test_classes_are_read_from_one_hot_and_numbered_outcomes() -> None:
    assert classes([0.2, 0.5, 0.3], [0.0, 1.0, 0.0]) == ([0.2, 0.5, 0.3], 1)
    assert classes([0.2, 0.5, 0.3], [2.0]) == ([0.2, 0.5, 0.3], 2)
    assert classes([0.25], [1.0]) == ([0.75, 0.25], 1)
    for value, outcome in (([0.3], [0.7]), ([1.0, 2.0], [0.5, 0.5]), ([1.0, 2.0], [7.0]), ([], [])):
        assert classes(value, outcome) is None
    book = ScoreBook()
    book.scored(score(0, [0.2, 0.5, 0.3], [2.0]))
    assert book.summary("m", "A").brier == pytest.approx(0.04 + 0.25 + 0.49)


def test_predictions_wait_until_an_outcome_at_or_after_them_in_whatever_order_topics_are_read() -> None:
    events = [("p", 0), ("p", 1), ("p", 2), ("s", 0), ("s", 1)]
    for order in itertools.permutations(events):
        if [e for e in order if e[0] == "p"] != events[:3] or [e for e in order if e[0] == "s"] != events[3:]:
            continue
        book = ScoreBook()
        for kind, ordinal in order:
            if kind == "p":
                book.predicted(prediction(ordinal, [0.6]))
            else:
                book.scored(score(ordinal, [0.6], [1.0]))
        assert (book.summary("m", "A").scored, book.summary("m", None).pending) == (2, 1)


def test_a_regression_has_errors_and_no_accuracy_and_nothing_at_all_is_no_error() -> None:
    book = ScoreBook()
    assert book.summaries() == []
    book.scored(score(0, [0.3], [0.7]))
    found = book.summary("m", "A")
    assert found == Summary("m", "A", 1, 0, None, None, None, None, None, found.regression)
    assert found.regression is not None and found.regression.mae == pytest.approx(0.4)
