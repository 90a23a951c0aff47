"""Vault items with small Keras models whose answers are known, and a deployment's record of them, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lit.features.feature import Feature
from lit.features.library import plugin_scripts
from lit.features.scripts import Script, load_script
from lit.streams.workspace import Workspace
from lit.trainer import vault
from tests.training import write_part

#: Feature → script, parameters, shape, columns.
FEATURES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], list[str]]] = {
    "bars": (
        "unit_bar",
        {"count": 20, "size": 1, "unit": "minute"},
        (20, 8),
        ["open", "high", "low", "close", "trades", "volume", "mean_trade_size", "max_trade_size"],
    ),
    "atr": ("atr", {"count": 5, "rate": 3, "size": 5, "unit": "minute"}, (5, 1), ["atr"]),
    "flow": ("trade_imbalance", {"rate": 50}, (2,), ["by_trades", "by_volume"]),
}


def shipped(name: str) -> Script:
    return load_script(next(path for _, path in plugin_scripts() if path.stem == name))


def feature(name: str) -> Feature:
    script, params, _, _ = FEATURES[name]
    return Feature(name, shipped(script), params)


def keep(workspace: Workspace, name: str, model: Any, features: list[str], asset: str = "small", **frozen: str) -> None:
    """Put a Keras model into the vault as an epoch that was trained on an asset; `frozen`: sources of other scripts."""
    folder = workspace.folder("vault", name)
    model.save(folder / "model.h5")
    specs = [
        {"name": one, "shape": list(FEATURES[one][2]), "columns": FEATURES[one][3]}
        for one in features
        if one in FEATURES
    ]
    scripts = {}
    for one in features:
        script, params, _, _ = FEATURES[one]
        source = frozen.get(one) or shipped(script).source
        scripts[one] = {"script": script, "digest": "", "source": source, "params": params}
    item = {
        "project": "p",
        "run": 1,
        "epoch": 3,
        "digest": vault.file_digest(folder / "model.h5"),
        "inputs": specs,
        "label": {"name": "up", "shape": [1], "columns": ["label"]},
        "tags": [],
        "lineage": {
            "asset": {"digest": "sha256:train", "schema": {"schema": {"name": asset}, "features": scripts}},
        },
    }
    (folder / "item.json").write_text(json.dumps(item))


def write_asset(workspace: Workspace, features: list[str], name: str = "small", count: int = 200) -> dict[str, Any]:
    """Write a training asset of independent columns of mean 0 and 1 of the values at random; return what is in it."""
    rng = np.random.default_rng(3)
    folder: Path = workspace.folder("assets", name, "queue")
    values = {one: rng.normal(size=(count, *FEATURES[one][2])).astype(np.float32) for one in features}
    write_part(folder / "train.h5", {one: (value, FEATURES[one][3]) for one, value in values.items()})
    return values


def write_signs(workspace: Workspace, name: str = "signs") -> None:
    """Write a training asset of `flow` alone: all four pairs of 1 and -1, equally often."""
    flow = np.tile(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32), (16, 1))
    write_part(workspace.folder("assets", name, "queue") / "train.h5", {"flow": (flow, FEATURES["flow"][3])})


def linear(features: list[str], seed: int = 1) -> Any:
    """Return a model that is a weighted sum of all cells, its weights small."""
    from lit.trainer.backend import load

    _, keras = load()
    inputs = [keras.Input(FEATURES[one][2], name=one) for one in features]
    flat = [keras.layers.Flatten()(one) for one in inputs]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(joined))
    kernel, bias = model.get_weights()
    model.set_weights([np.random.default_rng(seed).normal(size=kernel.shape) * 1e-3, bias])
    return model


def product() -> Any:
    """Return a model of `flow` alone: the product of its two columns."""
    from lit.trainer.backend import load

    _, keras = load()
    flow = keras.Input((2,), name="flow")
    dense = [keras.layers.Dense(1, use_bias=False, name=name) for name in ("first", "second")]
    model = keras.Model([flow], keras.layers.Multiply()([layer(flow) for layer in dense]))
    for layer, column in zip(dense, np.eye(2), strict=True):
        layer.set_weights([column[:, None]])
    return model
