"""Shipped components: each is a form, builds a model that trains, and that model survives safe loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.serving.safe_load import load_model
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer.asset import FeatureSpec
from lit.trainer.backend import load, seed_everything
from lit.trainer.canvas import parse_canvas
from lit.trainer.compiler import Compiled, compile_canvas
from lit.trainer.component import load_components, read_component, save_component, shipped_files

FEATURES = {
    "bars": FeatureSpec("bars", (6, 3), ("a", "b", "c")),
    "kind": FeatureSpec("kind", (1,), ("kind",)),
    "kinds": FeatureSpec("kinds", (6, 2), ("x", "y")),
    "up": FeatureSpec("up", (1,), ("up",)),
}
#: component → its properties, the feature it takes, the shape that it gives on
LAYERS = [
    ("LSTM", {"layers": "5, 4"}, "bars", (4,)),
    ("LSTM", {"layers": "4", "rows": True, "both_ways": True, "dropout": 0.2}, "bars", (6, 8)),
    ("GRU", {"layers": [7]}, "bars", (7,)),
    ("Conv1D", {"filters": "4, 5", "kernel": 2, "dilation": 2, "dropout": 0.1}, "bars", (6, 5)),
    ("Conv1D", {"filters": 4, "padding": "valid", "pool": 2}, "bars", (2, 4)),
    ("Attention", {"heads": 2, "size": 4, "blocks": 2, "dropout": 0.1}, "bars", (6, 3)),
    ("Attention", {"causal": True}, "bars", (6, 3)),
    ("Dropout", {"rate": 0.5}, "bars", (6, 3)),
    ("Dropout", {"whole_columns": "true"}, "bars", (6, 3)),
    ("Flatten", {}, "bars", (18,)),
    ("Flatten", {"how": "mean"}, "bars", (3,)),
    ("Flatten", {"how": "last"}, "bars", (3,)),
    ("Normalise", {"by": "sample"}, "bars", (6, 3)),
    ("Normalise", {"by": "batch"}, "bars", (6, 3)),
    ("Embedding", {"categories": 5, "size": 3}, "kind", (3,)),
    ("Embedding", {"categories": 5, "size": 3}, "kinds", (6, 6)),
    ("Embedding", {"categories": 3, "size": 2, "coded": "columns"}, "bars", (6, 2)),
    ("Dense", {"layers": "4", "each_row": True}, "bars", (6, 4)),
]


def design(component: str, properties: dict[str, Any], *features: str) -> dict[str, Any]:
    inputs = [{"id": name, "component": "Input", "properties": {"feature": name, "scale": "none"}} for name in features]
    return {
        "name": "try",
        "nodes": [
            *inputs,
            {"id": "it", "component": component, "properties": properties},
            {"id": "out", "component": "Output", "properties": {"feature": "up"}},
        ],
        "edges": [*({"source": name, "target": "it"} for name in features), {"source": "it", "target": "out"}],
    }


def compiled(workspace: Workspace, *arguments: Any) -> Compiled:
    return compile_canvas(parse_canvas(design(*arguments)), load_components(workspace), FEATURES)


def samples(*features: str) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    made = {
        "bars": rng.normal(0, 1, (8, 6, 3)),
        "kind": rng.integers(0, 5, (8, 1)),
        "kinds": rng.integers(0, 5, (8, 6, 2)),
    }
    return [made[name].astype(np.float32) for name in features]


@pytest.mark.parametrize(("component", "properties", "feature", "shape"), LAYERS)
def test_a_layer_has_its_shape_trains_and_survives_safe_loading(
    component: str,
    properties: dict[str, Any],
    feature: str,
    shape: tuple[int, ...],
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    seed_everything(1)
    found = compiled(workspace, component, properties, feature)
    nodes = {node.node: node for node in found.nodes}
    assert nodes["it"].shape == shape
    model, x = found.model, samples(feature)
    assert sum(node.parameters for node in found.nodes) == model.count_params()
    before = [value.numpy() for value in model.trainable_variables]
    model.compile("sgd", "binary_crossentropy")
    model.train_on_batch(x, np.tile([[0.0], [1.0]], (4, 1)))
    assert any((now.numpy() != then).any() for now, then in zip(model.trainable_variables, before, strict=True))
    model.save(tmp_path / "model.h5", include_optimizer=False)
    again = load_model(tmp_path / "model.h5")
    assert np.asarray(again(x)).tobytes() == np.asarray(model(x)).tobytes()


def test_concatenate_joins_columns_or_rows(workspace: Workspace) -> None:
    joined = compiled(workspace, "Concatenate", {}, "bars", "kinds")
    assert next(node for node in joined.nodes if node.node == "it").shape == (6, 5)
    for properties, features, words in (
        ({}, ("bars", "kind"), "put Flatten"),
        ({"along": "rows"}, ("bars", "kinds"), r"node it.*\(6, 3\), \(6, 2\)"),
        ({}, ("bars",), "needs 2 inputs"),
    ):
        with pytest.raises(UserError, match=words):
            compiled(workspace, "Concatenate", properties, *features)


@pytest.mark.parametrize("component", ["LSTM", "GRU", "Conv1D", "Attention"])
def test_a_layer_over_rows_says_that_it_needs_rows(component: str, workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"node it: .*needs rows"):
        compiled(workspace, component, {}, "kind")


def test_a_causal_layer_sees_nothing_of_later_rows(workspace: Workspace) -> None:
    _, keras = load()
    for component, properties in (("Conv1D", {"filters": "4, 4"}), ("Attention", {"causal": True})):
        found = compiled(workspace, component, properties, "bars")
        upto = next(layer for layer in found.model.layers if isinstance(layer, keras.layers.Flatten)).input
        rows = keras.Model(found.model.inputs, upto)
        x = samples("bars")[0]
        changed = x.copy()
        changed[:, 4:] += 1
        one, other = np.asarray(rows([x])), np.asarray(rows([changed]))
        assert (one[:, :4] == other[:, :4]).all() and (one[:, 4:] != other[:, 4:]).any()


def test_an_unknown_category_counts_as_the_last(workspace: Workspace) -> None:
    model = compiled(workspace, "Embedding", {"categories": 5}, "kind").model
    predictions = np.asarray(model([np.array([[4.0], [99.0], [3.0]], np.float32)]))
    assert predictions[0] == predictions[1] != predictions[2]


@pytest.mark.parametrize("path", shipped_files(), ids=lambda path: path.stem)
def test_a_shipped_component_is_a_whole_form(path: Path) -> None:
    component = read_component(path.stem, path.read_text())
    assert not component.error and component.summary
    assert all(item.description for item in component.properties)
    given = {item.name: "1" for item in component.properties if item.required}
    values = component.values(given)
    assert component.values({name: value for name, value in values.items() if value != ""}) == values
    assert callable(component.make())


def test_a_teams_own_component_is_used_and_a_broken_one_says_so_on_its_node(workspace: Workspace) -> None:
    source = (
        '"""Doubles.\n\nParameters\n----------\nfactor : number\n    By what\n"""\nfrom keras import layers\n\n\n'
        "def make_component(name, inputs, factor=2.0):\n    return layers.Rescaling(factor, name=name)(inputs[0])\n"
    )
    save_component(workspace, "Double", source)
    found = compiled(workspace, "Double", {"factor": "3"}, "kind")
    assert found.model.get_layer("it").scale == 3
    save_component(workspace, "Double", source.replace("layers.Rescaling(factor", "layers.Nothing(factor"))
    with pytest.raises(UserError, match=r"node it: AttributeError.*Double\.py line 12"):
        compiled(workspace, "Double", {}, "kind")
    save_component(workspace, "Double", source.replace("def make", "def fake"))
    with pytest.raises(UserError, match="node it: component Double cannot be used"):
        compiled(workspace, "Double", {}, "kind")
