"""ONNX: each kind of layer predicts there what it predicts in Keras; what ONNX lacks is named."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.serving import onnx_model
from lit.serving.predictor import Predictor
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.backend import load
from lit.trainer.component import load_components, save_component
from lit.trainer.trust import trust
from tests.training import canvas, untrained_run, write_asset


def design(*components: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a canvas with these components one after another between bars and output."""
    found = canvas()
    found["nodes"] = [found["nodes"][0], *found["nodes"][3:]]
    names = [f"n{number}" for number in range(len(components))]
    for name, (component, properties) in zip(names, components, strict=True):
        found["nodes"].append({"id": name, "component": component, "properties": properties})
    chain = ["bars", *names, "out"]
    found["edges"] = [{"source": a, "target": b} for a, b in pairwise(chain)]
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), "contoso")
    write_asset(found, train=20, test=20)
    load_components(found)
    return found


def test_every_kind_of_layer_predicts_as_in_keras(workspace: Workspace, tmp_path: Path) -> None:
    import onnxruntime

    whole = design(
        ("Conv1D", {"filters": "4, 4", "dilation": 2, "activation": "gelu"}),
        ("Attention", {"heads": 2, "size": 4}),
        ("LSTM", {"layers": "5", "rows": True, "both_ways": True}),
        ("GRU", {"layers": "4", "dropout": 0.1}),
        ("Normalise", {"by": "batch"}),
        ("Dense", {"layers": "8", "dropout": 0.2}),
    )
    folder = untrained_run(workspace, whole)
    item = vault.add(workspace, "volume", folder.run, 1, "whole")
    onnx_model.write_onnx(workspace, "whole", tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(0, 1, (7, 20, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(None, {"bars": x})[0]
    np.testing.assert_allclose(found, Predictor.open(item).predict_many({"bars": x}), rtol=1e-4, atol=1e-5)


def test_what_onnx_lacks_is_named(workspace: Workspace, tmp_path: Path) -> None:
    source = (
        '"""Of gamma."""\nimport keras\nimport tensorflow as tf\n\n\nclass Gamma(keras.layers.Layer):\n'
        "    def call(self, x):\n        return tf.math.lgamma(x)\n\n\n"
        "def make_component(name, inputs):\n    return Gamma(name=name)(inputs[0])\n"
    )
    save_component(workspace, "Gamma", source)
    folder = untrained_run(workspace, design(("Gamma", {}), ("Flatten", {})))
    item = vault.add(workspace, "volume", folder.run, 1, "gamma")
    with pytest.raises(UserError, match="lit vault trust"):
        onnx_model.write_onnx(workspace, "gamma", tmp_path / "model.onnx")
    trust(item, by="eve")
    load()
    with pytest.raises(UserError, match="ONNX has no Lgamma"):
        onnx_model.write_onnx(workspace, "gamma", tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
