"""Model files are data: what would run code or reach out of the file is refused, with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lit.serving.safe_load import load_model
from lit.streams.errors import UserError
from lit.trainer.backend import load


def saved(path: Path, *layers: Any) -> Path:
    _, keras = load()
    keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1, name="out")]).save(path)
    return path


def edit_config(path: Path, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)


def test_a_plain_model_loads_and_predicts_the_same(tmp_path: Path) -> None:
    _, keras = load()
    path = saved(tmp_path / "plain.h5", keras.layers.Normalization(name="n"), keras.layers.Dense(4, "relu"))
    x = np.ones((1, 3), np.float32)
    expected = keras.models.load_model(path, compile=False)(x)
    assert np.asarray(load_model(path)(x)).tobytes() == np.asarray(expected).tobytes()


def test_a_lambda_layer_is_refused(tmp_path: Path) -> None:
    _, keras = load()
    path = saved(tmp_path / "lambda.h5", keras.layers.Lambda(lambda x: x / 2))
    with pytest.raises(UserError, match="Lambda layer, which runs code"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda layer: layer.update(class_name="Popen"), "Keras has no Popen"),
        (lambda layer: layer.update(module="os", registered_name="system"), "not Keras' own"),
        (lambda layer: layer["config"].update(units=10**12), "a size of 1e\\+12"),
    ],
)
def test_a_config_that_is_not_keras_own_is_refused(tmp_path: Path, change: Any, reason: str) -> None:
    path = saved(tmp_path / "model.h5")
    edit_config(path, lambda config: change(config["config"]["layers"][-1]))
    with pytest.raises(UserError, match=reason):
        load_model(path)


def test_links_out_of_the_file_and_absurd_shapes_are_refused(tmp_path: Path) -> None:
    linked = saved(tmp_path / "linked.h5")
    with h5py.File(linked, "r+") as file:
        file["model_weights/secret"] = h5py.ExternalLink("/etc/passwd", "/")
    with pytest.raises(UserError, match="'secret' is a link"):
        load_model(linked)
    huge = saved(tmp_path / "huge.h5")
    with h5py.File(huge, "r+") as file:
        file["model_weights"].create_dataset("huge", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))
    with pytest.raises(UserError, match="beyond"):
        load_model(huge)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("hello")
    with pytest.raises(UserError, match="not HDF5"):
        load_model(path)
