"""Saliency, independence and what-if on functions whose answers are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.cli.insight import pictured
from lit.serving import insight
from lit.serving.insight import Cell
from lit.serving.insight_game import EXACT_PLAYERS, Played, play
from lit.serving.insights import Situation
from lit.streams.errors import UserError
from lit.streams.records import Prediction

CORNERS = np.array(list(itertools.product([0.0, 1.0], repeat=3)))


def game(function: Callable[[Any], Any], sample: Any, background: Any) -> Callable[[Any], Any]:
    """v of a function over vectors whose entries are the players."""
    x, z = np.asarray(sample, float), np.asarray(background, float)
    return lambda masks: np.array([np.mean(function(np.where(mask, x, z))) for mask in masks])


def by_definition(values: Callable[[Any], Any], players: int) -> list[float]:
    """Shapley values as the mean over all orders."""
    shares = np.zeros(players)
    for order in itertools.permutations(range(players)):
        mask = np.zeros(players, bool)
        before = values(mask[None])[0]
        for player in order:
            mask[player] = True
            after = values(mask[None])[0]
            shares[player] += after - before
            before = after
    return (shares / math.factorial(players)).tolist()


def independences(played: Played) -> list[float | None]:
    return [None if e.independence is None else round(e.independence, 6) for e in played.effects]


def test_an_additive_model_s_columns_act_alone_and_one_without_weight_does_nothing() -> None:
    played = play(game(lambda a: a @ np.array([1.0, 2.0, 0.0]), [1, 1, 1], CORNERS), 3)
    assert np.allclose([e.saliency for e in played.effects], [0.5, 1.0, 0.0])
    assert independences(played) == [1.0, 1.0, None] and played.method == "exact"


@pytest.mark.parametrize(
    ("function", "sample", "background"),
    [
        (lambda a: a[:, 0] != a[:, 1], [1, 0, 0], CORNERS),
        (lambda a: a.sum(axis=1) % 2, [1, 0, 0], CORNERS),
        (lambda a: a[:, 0] * a[:, 1], [2.0, 3.0, 0.0], CORNERS - 0.5),
        (lambda a: a.prod(axis=1), [2.0, 3.0, -1.0], CORNERS - 0.5),
    ],
    ids=["xor", "parity of three", "product", "product of three"],
)
def test_a_pure_interaction_s_columns_do_nothing_alone(function: Any, sample: Any, background: Any) -> None:
    played = play(game(function, sample, background), 3)
    assert set(independences(played)) <= {0.0, None} and 0.0 in independences(played)
    assert abs(sum(e.saliency for e in played.effects)) > 0.1


def test_in_between_independence_is_the_share_of_the_effect_alone() -> None:
    """or(1, 1) over 0: alone each does 1, after the other 0; so joint is 1/2, and independence 1 / 1.5."""
    played = play(game(lambda a: a.max(axis=1), [1, 1], [[0, 0]]), 2)
    assert np.allclose([e.saliency for e in played.effects], 0.5) and independences(played) == [0.666667] * 2
    mixed = play(game(lambda a: a[:, 0] + a[:, 0] * a[:, 1], [1, 1], CORNERS[:, :2] * 2 - 1), 2)
    first, second = mixed.effects
    assert first.independence == pytest.approx(1 / 1.5) and second.independence == 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6))
def test_saliency_is_the_mean_over_all_orders_and_adds_up_to_the_prediction(players: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=2**players)
    values = lambda masks: table[masks @ (1 << np.arange(players))]  # noqa: E731 - any game at all
    played = play(values, players)
    assert np.allclose([e.saliency for e in played.effects], by_definition(values, players))
    assert sum(e.saliency for e in played.effects) == pytest.approx(played.everybody - played.nobody)
    assert all(e.independence is None or 0 <= e.independence <= 1 for e in played.effects)


def test_many_players_are_told_by_drawn_orders_the_same_each_time() -> None:
    players = EXACT_PLAYERS + 20
    rng = np.random.default_rng(1)
    weights, sample, background = rng.normal(size=players), rng.normal(size=players), rng.normal(size=(8, players))

    def function(a: Any) -> Any:
        return a @ weights + 20 * (a[:, 0] - background[:, 0].mean()) * (a[:, 1] - background[:, 1].mean())

    played, again = (play(game(function, sample, background), players, seed=3) for _ in range(2))
    assert played == again and played.method == "permutation" and played.coalitions < 3000
    assert sum(e.saliency for e in played.effects) == pytest.approx(played.everybody - played.nobody)
    own = (sample - background.mean(axis=0)) * weights
    assert np.allclose([e.saliency for e in played.effects[2:]], own[2:])
    assert all(e.independence == pytest.approx(1.0) for e in played.effects[2:])
    assert max(e.independence or 0 for e in played.effects[:2]) < 0.9


def test_rounding_errors_are_no_effects() -> None:
    noise = np.random.default_rng(0)
    played = play(lambda masks: masks[:, 0] + 1e-9 * noise.normal(size=len(masks)), 3)
    assert independences(played)[1:] == [None, None] and played.effects[0].independence == pytest.approx(1, abs=1e-6)


# --- samples of several features ----------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
BACKGROUND = {"bars": RNG.normal(size=(40, 6, 3)).astype("f4"), "now": RNG.normal(size=(40, 2)).astype("f4")}
SAMPLE = {"bars": RNG.normal(size=(6, 3)).astype("f4"), "now": np.array([2.0, -1.0], "f4")}


def model(batch: Any) -> Any:
    """Two outputs: the sum of `bars`' last column plus twice `now`'s first; and `now`'s product."""
    linear = batch["bars"][:, :, 2].sum(axis=1) + 2 * batch["now"][:, 0]
    return np.stack([linear, batch["now"].prod(axis=1)], axis=1)


def test_impact_is_told_of_columns_over_all_rows_and_of_whole_features() -> None:
    found = insight.impact(model, SAMPLE, BACKGROUND, output=0)
    names = [(part.feature, part.column) for part in found.columns]
    assert names == [("bars", 0), ("bars", 1), ("bars", 2), ("now", 0), ("now", 1)]
    expected = SAMPLE["bars"][:, 2].sum() - BACKGROUND["bars"][:, :, 2].sum(axis=1).mean()
    assert found.columns[2].effect.saliency == pytest.approx(expected, rel=1e-4)
    assert [part.effect.independence for part in found.columns[:2]] == [None, None]
    assert [(part.feature, part.column) for part in found.features] == [("bars", None), ("now", None)]
    assert found.features[0].effect.saliency == pytest.approx(expected, rel=1e-4)
    second = insight.impact(model, SAMPLE, BACKGROUND, output=1)
    assert second.features[1].effect.independence == pytest.approx(1)
    assert second.columns[3].effect.independence < 0.5  # type: ignore[operator]
    with pytest.raises(UserError, match="outputs 0…1"):
        insight.impact(model, SAMPLE, BACKGROUND, output=2)


def test_the_most_influential_cells_come_first() -> None:
    cells, output = insight.influences(model, SAMPLE, BACKGROUND, output=0)
    assert output == 0 and len(cells) == 20
    by_hand = {
        **{Cell("bars", row, 2): SAMPLE["bars"][row, 2] - SAMPLE["bars"][:, 2].mean() for row in range(6)},
        Cell("now", None, 0): 2 * (SAMPLE["now"][0] - BACKGROUND["now"][:, 0].mean()),
    }
    order = sorted(by_hand, key=lambda cell: -abs(by_hand[cell]))
    assert [one.cell for one in cells[:7]] == order
    assert all(one.effect == pytest.approx(by_hand[one.cell], rel=1e-4) for one in cells[:7])
    assert all(one.effect == 0 for one in cells[7:])


def test_edits_change_what_they_name_and_are_told_apart() -> None:
    edits = [(Cell("bars", -1, 2), 100.0), (Cell("bars", 0, 0), 5.0), (Cell("now", None, 0), -200.0)]
    changed = insight.edited(SAMPLE, edits)
    assert changed["bars"][5, 2] == 100 and changed["now"][0] == -200 and SAMPLE["now"][0] == 2
    before = model({name: value[None] for name, value in SAMPLE.items()})[0]
    told = insight.apart(model, SAMPLE, edits, before, 0)
    assert [edit.cell for edit in told] == [edits[2][0], edits[0][0], edits[1][0]]
    assert told[0].alone == pytest.approx(-404, rel=1e-5) and told[2].alone == 0


@pytest.mark.parametrize(
    ("cell", "value", "says"),
    [
        (Cell("volume", 0, 0), 1.0, "'volume' is no input"),
        (Cell("bars", None, 0), 1.0, "has 6 rows: name one"),
        (Cell("now", 0, 0), 1.0, "has no rows"),
        (Cell("bars", 6, 0), 1.0, "no cell .6, 0."),
        (Cell("bars", 0, 3), 1.0, "its shape is .6, 3."),
        (Cell("now", None, 1), math.nan, "finite"),
        (Cell("now", None, 1), 1e300, "finite"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(cell: Cell, value: float, says: str) -> None:
    with pytest.raises(UserError, match=says):
        insight.edited(SAMPLE, [(cell, value)])


def test_a_model_that_says_nan_is_told_so() -> None:
    def broken(batch: Any) -> Any:
        return np.log(batch["now"][:, 1:])

    for question in (insight.impact, insight.influences):
        with np.errstate(invalid="ignore"), pytest.raises(UserError, match="says NaN or infinity"):
            question(broken, SAMPLE, BACKGROUND)


def test_a_large_window_is_valued_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = insight.impact(model, SAMPLE, BACKGROUND, output=0)
    monkeypatch.setattr(insight, "_BATCH_BYTES", 10_000)
    assert insight.impact(model, SAMPLE, BACKGROUND, output=0) == whole


def test_inputs_are_told_as_a_chart_of_each_column_and_a_table_of_the_newest_rows() -> None:
    rising = np.stack([np.arange(100), np.full(100, 7.5)], axis=1).astype(np.float32)
    lines = pictured(
        {"bars": rising, "flag": np.array([3.0], np.float32)}, {"bars": ["close", "volume"], "flag": ["x"]}
    )
    assert lines[0] == "bars, 100 rows, the newest last"
    name, chart, *span = lines[1].split()
    assert (name, span) == ("close", ["0", "…", "99,", "newest", "99"])
    assert len(chart) == 60 and list(chart) == sorted(chart) and chart[0] == "▁" and chart[-1] == "█"
    assert lines[2].split()[1] == "▁" * 60 and lines[3].split() == ["row", "close", "volume"]
    assert [line.split() for line in lines[4:14]] == [[str(row), str(row), "7.5"] for row in range(90, 100)]
    assert lines[14:] == ["flag", "  x  ▁  3 … 3, newest 3"]


@pytest.mark.parametrize("text", ["--1", "²", "-", "", "shut"])
def test_a_column_that_is_neither_a_name_nor_a_number_is_told_in_a_sentence(text: str) -> None:
    told = Prediction("up", "m", "A", "1minute", "", 9, [0.5], "", 0, "", 1.5)
    found = Situation(told, {}, {"bars": ["open", "close"]}, True, [0.5], 1, {})
    assert found.cell("bars", -1, "-1") == Cell("bars", -1, -1)
    with pytest.raises(UserError, match=r"has no column .*: it has open, close"):
        found.cell("bars", -1, text)
