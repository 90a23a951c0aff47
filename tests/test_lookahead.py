"""The lookahead judge: of scripts of which it is known whether they look ahead, it must judge every one rightly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.feature import Feature
from lit.features.futures import CHANGES, made_up_tapes, with_other_future
from lit.features.lookahead import judge
from lit.features.parity import check_batch
from lit.features.scripts import ScriptError, load_script
from lit.streams.tick import TickBlock, tick_block
from tests.generated_scripts import KINDS, Generated, generate
from tests.tape import tapes
from tests.test_traders_scripts import SMALL, script, ticks

GENERATED = generate(100, seed=20131007)
TAPES = made_up_tapes(4000)


def feature_of(source: str, name: str = "made_up") -> Feature:
    return Feature(name, load_script(Path(f"{name}.py"), source))


def test_the_generated_scripts_are_of_every_recipe_and_half_of_them_clean() -> None:
    assert {item.recipe for item in GENERATED} == {name for recipes in KINDS.values() for name in recipes}
    assert Counter(item.kind for item in GENERATED)["clean"] == 50
    assert len({item.source for item in GENERATED}) == 100


@pytest.mark.parametrize("number", range(100))
def test_a_generated_script_is_judged_rightly(number: int) -> None:
    item: Generated = GENERATED[number]
    verdict = judge(feature_of(item.source), tapes=TAPES, samples=6, seed=number)
    assert verdict.kind == item.kind, f"{item.recipe}: {verdict}\n{item.source}"
    assert bool(verdict.evidence) == (item.kind != "clean")
    assert verdict.usable_as_input == (item.kind in ("clean", "sampler"))


PLUGIN_KINDS = dict.fromkeys(["atr_up", "price_next_bars", "return_next_bars", "triple_barrier"], "label")
PLUGIN_KINDS["per_unit"] = "sampler"


@pytest.mark.parametrize("name", SMALL)
def test_the_traders_scripts_are_what_they_say(name: str) -> None:
    real = ticks().slice(20_000, 40_000)
    real = TickBlock(real.symbol, 0, real.batch)
    verdict = judge(Feature(name, script(name), SMALL[name]), tapes=[TAPES[0], real], samples=10)
    assert verdict.kind == PLUGIN_KINDS.get(name, "clean"), str(verdict)


def test_evidence_names_the_sample_the_change_both_values_and_the_read() -> None:
    verdict = judge(feature_of("def feature(adapter, index): return [adapter[index + 1]['Price']]"), tapes=TAPES[:1])
    first = verdict.evidence[0]
    assert first.change in CHANGES and first.before != first.after and first.reads == ("adapter[i + 1]",)
    assert f"i = {first.index}" in str(first) and "became" in str(first)


def test_a_feature_made_of_a_label_is_a_label() -> None:
    label = Feature("next", script("price_next_bars"))
    source = '"""\nParameters\n----------\nof : feature\n"""\ndef feature(a, i, p, o): return o[p["of"]] * 2'
    twice = Feature("twice", load_script(Path("twice.py"), source), {"of": "next"})
    assert judge(twice, [label], TAPES[:1], samples=5).kind == "label"
    clean = Feature("bars", script("unit_bar"), {"count": 2})
    assert judge(Feature("t", twice.script, {"of": "bars"}), [clean], TAPES[:1], samples=5).kind == "clean"


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [("return []", "untested", "reaches as far back"), ("return [1 / 0]", "failing", "line 2: ZeroDivisionError")],
)
def test_what_cannot_be_judged_is_not_called_clean(body: str, kind: str, says: str) -> None:
    verdict = judge(feature_of(f"def feature(adapter, index):\n    {body}\n"), tapes=TAPES[:1], samples=5)
    assert verdict.kind == kind and says in verdict.note


@settings(max_examples=40, deadline=None)
@given(tapes(min_size=1), st.sampled_from(sorted(CHANGES)), st.data())
def test_another_future_leaves_the_past_as_it_is_to_the_bit(tape: TickBlock, change: str, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(tape) - 1))
    other = with_other_future(tape, index, change)
    assert [other[i] for i in range(index + 1)] == [tape.packet(i) for i in range(index + 1)]
    assert len(other) > index


def test_every_change_makes_another_future() -> None:
    tape = TAPES[0].slice(0, 300)
    futures = {name: with_other_future(tape, 100, name) for name in CHANGES}
    before = [tape.packet(i) for i in range(101, 300)]
    assert not [name for name, other in futures.items() if [other[i] for i in range(101, len(other))] == before]


# --- batch against loop -------------------------------------------------------------------------------------------

BATCH = (
    "import numpy as np\ndef feature(a, i): return [a[i]['Price']] if i % 2 else []\ndef feature_batch(a, i, p, o):\n"
)
RIGHT = "    keep = i % 2 == 1\n    return keep, a.column('Price', i[keep])[:, None]\n"


def test_a_batch_that_equals_its_loop_passes() -> None:
    check_batch(feature_of(BATCH + RIGHT), tapes=TAPES[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        RIGHT.replace("== 1", "== 0"),
        RIGHT.replace("[:, None]", "[:, None] * (1 + 1e-15)"),
        RIGHT.replace("[:, None]", "[:, None] - (0 if len(i) < 9 else 1)"),
        "    price = a.column('Price', i)\n    return i % 2 == 1, (price - price.mean())[i % 2 == 1][:, None]\n",
        "    return np.ones(len(i), bool), a.column('Price', i)[:, None]\n",
    ],
)
def test_a_batch_that_differs_is_refused_with_the_sample(wrong: str) -> None:
    with pytest.raises(ScriptError, match="feature_batch differs from feature at tick"):
        check_batch(feature_of(BATCH + wrong), tapes=TAPES[:1])


def test_a_tape_of_one_trade_can_be_judged() -> None:
    one = tick_block("A", 0, [0], [1.0], [1.0])
    assert judge(feature_of("def feature(a, i): return [a[i]['Price']]"), tapes=[one]).kind == "clean"
    assert np.isfinite(one.price).all()
