"""Loading scripts, checking what they return, and the library of named features."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.features.dataset import DatasetAdapter
from lit.features.engine import FeatureEngine, in_computing_order
from lit.features.feature import Feature
from lit.features.library import (
    feature_names,
    find_script,
    load_feature,
    load_features,
    plugin_scripts,
    save_feature,
    save_script,
    script_files,
    script_versions,
)
from lit.features.scripts import DEFAULT_SORT_KEY, ScriptError, load_script
from lit.features.window import NeedMoreData, SymbolWindow
from lit.streams.errors import UserError
from lit.streams.tick import tick_block
from lit.streams.workspace import Workspace


def script(source: str, name: str = "mine", folder: Path = Path("scripts")) -> Any:
    return load_script(folder / f"{name}.py", textwrap.dedent(source))


def feature(body: str, docstring: str = "", name: str = "mine") -> Feature:
    text = f'"""{docstring}"""\n' if docstring else ""
    return Feature(name, script(f"{text}def feature(adapter, index, params={{}}, others={{}}):\n    return {body}\n"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path, "contoso")
    workspace.folder("scripts")
    return workspace


def write(workspace: Workspace, name: str, source: str) -> None:
    (workspace.root / "scripts" / f"{name}.py").write_text(textwrap.dedent(source))


# --- loading ----------------------------------------------------------------------------------------------------


def test_the_fourth_argument_arrives_whatever_it_is_called() -> None:
    got = script("def feature(adapter, index, params:dict={}, features:dict={}): return [features['a'][0] + index]")
    assert got.feature(None, 2, {}, {"a": [40.0]}) == [42.0]


@pytest.mark.parametrize("signature", ["adapter, index", "adapter, index, params", "*everything"])
def test_a_feature_may_take_fewer_arguments(signature: str) -> None:
    assert script(f"def feature({signature}): return [1.0]").feature(None, 0, {}, {}) == [1.0]


def test_sort_key_and_digest_belong_to_the_script() -> None:
    source = "def sort_key(): return 0\ndef feature(adapter, index): return []"
    assert script(source).sort_key == 0
    assert script("def feature(adapter, index): return []").sort_key == DEFAULT_SORT_KEY
    assert script(source).digest == script(source).digest != script(source + "\n").digest


def test_dataclasses_work_within_scripts() -> None:
    source = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Point:
            x: float
        def feature(adapter, index): return [Point(3.0).x]
        """
    assert script(source).feature(None, 0, {}, {}) == [3.0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def feature(adapter, index)\n    return []", "line 1: it is not Python"),
        ("x = 1\nx = 1 / 0\ndef feature(adapter, index): return []", "line 2: ZeroDivisionError"),
        ("import no_such_module_here\n", "line 1: ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("x = 1", "defines no function 'feature"),
        ("feature = 3", "no function"),
        ("\ndef feature(adapter): return []", "line 2: feature takes 1 arguments"),
        ("def feature(a, b, c, d, e): return []", "feature takes 5 arguments"),
        (
            '"""\nParameters\n----------\nx : complex\n"""\ndef feature(a, i): return []',
            "line 4: 'x' has the unknown type",
        ),
        ("def sort_key(): return 'first'\ndef feature(a, i): return []", "line 1|sort_key must return a number"),
        ("def feature(adapter, index): return []\0", "not Python"),
    ],
)
def test_a_source_that_is_no_script_is_refused_with_its_line(source: str, says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        load_script(Path("mine.py"), source)


def test_an_error_names_the_line_of_the_script_even_when_it_is_raised_deeper() -> None:
    source = "import json\n\ndef feature(adapter, index):\n    return json.loads('{')\n"
    with pytest.raises(ScriptError, match="script 'mine', line 4: JSONDecodeError") as caught:
        load_script(Path("mine.py"), source).feature(None, 0, {}, {})
    assert caught.value.line == 4


def test_waiting_for_data_is_no_error_of_the_script() -> None:
    window = SymbolWindow("A")
    window.feed(tick_block("A", 0, [0], [1.0], [1.0]))
    with pytest.raises(NeedMoreData):
        feature("adapter[index + 1]['Price']").compute(window, 0, {})


def test_a_script_that_catches_every_exception_still_waits_for_what_has_not_happened_yet() -> None:
    source = """
        def feature(adapter, index):
            try:
                return [adapter[index + 1]["Price"]]
            except Exception:
                return []
        """
    block = tick_block("A", 0, range(6), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0] * 6)
    whole, parts = (FeatureEngine("A", [Feature("next", script(source))]) for _ in range(2))
    expected = whole.feed(block).values["next"]
    got = [parts.feed(block.slice(n, n + 1)) for n in range(6)]
    assert np.concatenate([samples.values["next"] for samples in got if len(samples)]).tolist() == expected.tolist()
    assert expected.tolist() == [[2.0], [3.0], [4.0], [5.0], [6.0]]


# --- what scripts return ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("[1, 2.5]", (2,)),
        ("7", (1,)),
        ("[[1, 2], [3, 4], [5, 6]]", (3, 2)),
        ("__import__('numpy').ones(3, 'f4')", (3,)),
    ],
)
def test_results_become_float64_arrays_of_their_shape(body: str, shape: tuple[int, ...]) -> None:
    got = feature(body)
    value = got.compute(None, 0, {})
    assert value is not None and value.dtype == np.float64 and value.shape == shape == got.shape


@pytest.mark.parametrize("body", ["[]", "[[]]", "__import__('numpy').empty((0, 8))"])
def test_an_empty_result_rejects_the_sample(body: str) -> None:
    assert feature(body).compute(None, 0, {}) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_value_that_is_not_finite_rejects_the_sample_and_is_counted(value: str) -> None:
    got = feature(f"[1.0, float('{value}')]")
    assert got.compute(None, 0, {}) is None and got.not_finite == 1


@pytest.mark.parametrize(
    ("body", "docstring", "says"),
    [
        ("None", "", "returned None at index 5"),
        ("'text'", "", "no array of numbers"),
        ("[[1], [1, 2]]", "", "no array of numbers"),
        ("[[[1.0]]]", "", "shape .1, 1, 1.: return"),
        ("[1.0, 2.0]", "\nReturns\n-------\n[ a ]\n", "has 2 columns but Returns names 1 .a.: .*\\[:, None\\]"),
        ("[1.0] * (index - 3 if index > 5 else 2)", "", "shape .4,., samples before had .2,.: return one shape"),
    ],
)
def test_a_result_of_the_wrong_form_is_told(body: str, docstring: str, says: str) -> None:
    got = feature(body, docstring)
    with pytest.raises(ScriptError, match=says):
        got.compute(None, 5, {})
        got.compute(None, 7, {})


def test_columns_carry_the_docstring_s_names_or_numbers() -> None:
    named, unnamed = feature("[1, 2]", "\nReturns\n-------\n[ a, b ]\n"), feature("[1, 2]")
    assert named.columns == ("a", "b") and unnamed.columns == ()
    unnamed.compute(None, 0, {})
    assert unnamed.columns == ("mine_0", "mine_1")


def batch(body: str) -> Feature:
    source = "import numpy as np\ndef feature(adapter, index): return [1.0]\n"
    return Feature(
        "mine", script(source + f"def feature_batch(adapter, indices, params, others):\n    return {body}\n")
    )


def test_a_batch_loses_its_samples_that_are_not_finite() -> None:
    got = batch("np.array([True, False, True, True]), np.array([[1.0], [np.nan], [3.0]])")
    keep, values = got.compute_batch(None, np.arange(4), {})
    assert keep.tolist() == [True, False, False, True] and values.tolist() == [[1.0], [3.0]] and got.not_finite == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("None", "no pair"),
        ("np.ones(4), np.ones((4, 1))", "keep of feature_batch is float64"),
        ("np.ones(3, bool), np.ones((3, 1))", "one bool for each"),
        ("np.array([True, False, True, True]), np.ones((4, 1))", "kept 3 samples but"),
        ("np.ones(4, bool), np.ones(4)", "shape .."),
    ],
)
def test_a_batch_of_the_wrong_form_is_told(body: str, says: str) -> None:
    with pytest.raises(ScriptError, match=says):
        batch(body).compute_batch(None, np.arange(4), {})


def test_other_features_can_be_read_but_not_changed_and_missing_ones_are_named() -> None:
    others = {"a": np.array([1.0])}
    assert feature("others['a'] * 2").compute(None, 0, others) == [2.0]
    with pytest.raises(ScriptError, match="read-only"):
        feature("others['a'].fill(5)").compute(None, 0, others)
    with pytest.raises(ScriptError, match=r"'b' is not computed before this one .computed: 'a'"):
        feature("others['b']").compute(None, 0, others)


# --- the library --------------------------------------------------------------------------------------------------


def test_plugins_scripts_are_found_and_the_team_s_own_come_first(workspace: Workspace) -> None:
    assert {"sma", "atr", "unit_bar", "per_unit"} <= {path.stem for _, path in plugin_scripts()}
    assert find_script(workspace, "sma").plugin == "traders"
    write(workspace, "sma", "def feature(adapter, index): return [7.0]")
    assert find_script(workspace, "sma").plugin == ""
    assert script_files(workspace)["sma"][1].parent == workspace.root / "scripts"
    with pytest.raises(UserError, match=r"no script 'smma' .there are: .*sma"):
        find_script(workspace, "smma")


def test_an_edited_script_keeps_its_former_versions(workspace: Workspace) -> None:
    texts = [f"def feature(adapter, index): return [{n}.0]\n" for n in range(3)]
    for text in (*texts, texts[-1]):
        save_script(workspace, "mine", text)
    assert find_script(workspace, "mine").source == texts[2]
    assert [path.read_text() for path in script_versions(workspace, "mine")] == texts[:2]
    with pytest.raises(ScriptError, match="line 1: it is not Python"):
        save_script(workspace, "mine", "def feature(")
    assert "mine" in script_files(workspace) and "0001" not in script_files(workspace)


def test_a_feature_is_saved_as_its_file_and_loads_again(workspace: Workspace) -> None:
    save_feature(workspace, "10 day average", "sma", {"count": 5, "unit": "days"})
    saved = json.loads((workspace.root / "features" / "10 day average.json").read_text())
    assert saved["script"] == "sma" and saved["params"]["unit"] == "day" and saved["params"]["count"] == 5
    assert load_feature(workspace, "10 day average").params == saved["params"]
    assert feature_names(workspace) == ["10 day average"]


@pytest.mark.parametrize(
    ("name", "script_name", "params", "says"),
    [
        ("../x", "sma", {}, "not usable"),
        ("x", "none_such", {}, "no script 'none_such'"),
        ("x", "sma", {"count": 0}, "'count' is 0"),
        ("x", "sma", {"length": 3}, "'length' is unknown"),
    ],
)
def test_a_feature_that_is_not_usable_is_not_saved(workspace, name, script_name, params, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UserError, match=says):
        save_feature(workspace, name, script_name, params)
    assert feature_names(workspace) == []


@pytest.mark.parametrize("text", ["{", '{"name": "x"}', '{"name": "x", "script": "sma", "parms": {}}'])
def test_a_damaged_feature_file_is_named(workspace: Workspace, text: str) -> None:
    (workspace.folder("features") / "x.json").write_text(text)
    with pytest.raises(UserError, match=r"x\.json is not a feature"):
        load_feature(workspace, "x")


ON_OTHER = '"""\nParameters\n----------\nbase : feature\n"""\ndef feature(a, i, p, o): return o[p["base"]] + 1\n'


def test_features_load_in_schema_order_and_compute_by_sort_key_and_need(workspace: Workspace) -> None:
    write(workspace, "on_other", ON_OTHER)
    write(workspace, "one", "def feature(a, i): return [1.0]")
    for name, script_name, params in [
        ("first", "one", {}),
        ("middle", "on_other", {"base": "first"}),
        ("last", "on_other", {"base": "middle"}),
        ("sampler", "per_unit", {}),
    ]:
        save_feature(workspace, name, script_name, params)
    features = load_features(workspace, ["last", "middle", "first", "sampler"])
    assert [f.name for f in features] == ["last", "middle", "first", "sampler"]
    assert [f.name for f in in_computing_order(features)] == ["sampler", "first", "middle", "last"]
    engine = FeatureEngine("A", features)
    block = tick_block("A", 0, np.arange(4) * 60 * 10**9, [1.0, 2.0, 3.0, 4.0], [1.0] * 4)
    assert engine.feed(block).values["last"].tolist() == [[3.0]] * 3


def write_feature(workspace: Workspace, name: str, script_name: str, params: dict[str, Any]) -> None:
    body = json.dumps({"name": name, "script": script_name, "params": params})
    (workspace.folder("features") / f"{name}.json").write_text(body)


def test_features_that_need_each_other_are_refused_by_name(workspace: Workspace) -> None:
    write(workspace, "on_other", ON_OTHER)
    for name, base in [("a", "b"), ("b", "c"), ("c", "b")]:
        write_feature(workspace, name, "on_other", {"base": base})
    with pytest.raises(UserError, match="in a circle: b → c → b"):
        load_features(workspace, ["a", "b", "c"])
    with pytest.raises(UserError, match="in a circle: c → b → c"):
        save_feature(workspace, "c", "on_other", {"base": "b"})
    with pytest.raises(UserError, match="'a' is computed from 'b': add that"):
        load_features(workspace, ["a"])


def test_a_feature_of_a_broken_script_says_which_feature_and_line(workspace: Workspace) -> None:
    write(workspace, "broken", "x = \n")
    write_feature(workspace, "f", "broken", {})
    with pytest.raises(UserError, match="feature 'f': script 'broken', line 1"):
        load_features(workspace, ["f"])


def test_results_do_not_change_when_a_script_keeps_and_alters_what_it_returned() -> None:
    source = "import numpy as np\nkept = np.zeros(1)\ndef feature(a, i):\n    kept[0] = i\n    return kept\n"
    got = Feature("mine", script(source))
    first, second = got.compute(None, 1, {}), got.compute(None, 2, {})
    assert first == [1.0] and second == [2.0]


def test_a_script_may_read_a_dataset(workspace: Workspace) -> None:
    adapter = DatasetAdapter.of_blocks([tick_block("A", 0, [0, 1], [5.0, 6.0], [1.0, 1.0])])
    assert feature("adapter[index]['Price']").compute(adapter, 1, {}) == [6.0]
