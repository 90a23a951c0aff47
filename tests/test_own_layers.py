"""A team's own layers: trained, kept with their source, refused until allowed, then the same bytes; exported whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.serving.predictor import Predictor
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.component import load_components, save_component
from lit.trainer.export import export_item
from lit.trainer.trust import distrust, trust, trusted
from tests.training import canvas, untrained_run, write_asset

SOURCE = '''"""Multiplies by a learnt number.

Parameters
----------
start : number
    Its first value
"""

import keras


class Scale(keras.layers.Layer):
    def __init__(self, start=1.0, **more):
        super().__init__(**more)
        self.start = start

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer=keras.initializers.Constant(self.start), name="factor")

    def call(self, x):
        return x * self.factor


def make_component(name, inputs, start=2.0):
    return Scale(start, name=name)(inputs[0])
'''


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), "contoso")
    write_asset(found, train=20, test=20)
    load_components(found)
    save_component(found, "Scale", SOURCE)
    return found


@pytest.fixture
def item(workspace: Workspace) -> vault.VaultItem:
    if any(each.name == "scaled" for each in vault.items(workspace)):
        vault.delete(workspace, "scaled")
    design: dict[str, Any] = canvas()
    design["nodes"].append({"id": "scale", "component": "Scale", "properties": {"start": 3}})
    design["edges"][2:] = [{"source": "dense", "target": "scale"}, {"source": "scale", "target": "out"}]
    folder = untrained_run(workspace, design)
    return vault.add(workspace, "volume", folder.run, 1, "scaled")


def samples(item: vault.VaultItem) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {spec.name: rng.normal(100, 1, (5, *spec.shape)).astype(np.float32) for spec in item.inputs}


def test_it_is_refused_with_the_way_out_until_it_is_allowed(workspace: Workspace, item: vault.VaultItem) -> None:
    assert item.own_layers == ("Scale",) and trusted(item) is False
    with pytest.raises(UserError, match=r"own \(Scale\).*lit vault trust 'scaled'"):
        Predictor.open(item)
    trust(item, by="eve")
    assert trusted(item) and not any("trust" in path.name for path in workspace.root.rglob("*"))
    save_component(workspace, "Scale", SOURCE.replace("x * self.factor", "x - self.factor"))  # the item has its own
    first = Predictor.open(item).predict_many(samples(item))
    model = Predictor.open(item).model
    assert model.get_layer("scale").start == 3
    again = Predictor.open(vault.load(workspace, "scaled")).predict_many(samples(item))
    assert first.tobytes() == again.tobytes()
    save_component(workspace, "Scale", SOURCE)
    distrust(item)
    with pytest.raises(UserError, match="lit vault trust"):
        Predictor.open(item)


def test_what_was_allowed_are_these_very_sources(workspace: Workspace, item: vault.VaultItem) -> None:
    trust(item, by="eve")
    path = item.path / "item.json"
    record = json.loads(path.read_text())
    record["lineage"]["components"]["Scale"] += "\nimport os\n"
    path.write_text(json.dumps(record))
    with pytest.raises(FaultError, match="have changed"):
        Predictor.open(vault.load(workspace, "scaled"))
    record["code"] = vault.code_digest(record["lineage"])  # a forger would do so
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="lit vault trust"):
        Predictor.open(vault.load(workspace, "scaled"))


def test_an_item_of_shipped_layers_has_nothing_to_allow(workspace: Workspace) -> None:
    folder = untrained_run(workspace, canvas())
    plain = vault.add(workspace, "volume", folder.run, 1, "plain")
    assert plain.own_layers == () and trusted(plain) is None
    with pytest.raises(UserError, match="no code of its own"):
        trust(plain, by="eve")


def test_its_export_brings_the_layers_along(workspace: Workspace, item: vault.VaultItem, tmp_path: Path) -> None:
    export_item(workspace, "scaled", tmp_path / "out")
    np.savez(tmp_path / "samples.npz", **samples(item))
    without = "import sys, runpy; sys.modules['lit'] = None; del sys.argv[0]; sys.path[0] = 'out'; "
    without += "runpy.run_path(sys.argv[0], None, '__main__')"
    command = [sys.executable, "-c", without, "out/predict.py", "samples.npz", "out.npy"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    trust(item, by="eve")
    expected = Predictor.open(item).predict_many(samples(item))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)
