"""Loads a Keras `.h5` model without trusting it: the config is checked first, then only weights are read.

Nothing of a file is ever run. Refused are Lambda layers, classes that are not Keras' own, links out of the file,
virtual and external data, and sizes beyond reason. Whoever trusts a file all the same loads it with
`keras.models.load_model(path, safe_mode=False)` in a program of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lit.streams.errors import UserError
from lit.trainer.backend import load
from lit.trainer.hdf5 import leads_outside

MAX_WEIGHTS = 500_000_000
MAX_CONFIG_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
#: Layers that run code or reach out of the model; everything else in keras.layers is arithmetic.
REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup", "TextVectorization"}
_MODELS = {"Functional", "Sequential", "Model"}
#: Markers of Keras' own notation for values, which name no class.
_MARKERS = {"__tuple__", "__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__"}


def load_model(path: Path) -> Any:
    """Rebuild a model from its checked config and load its weights; not compiled for training.

    Raises
    ------
    UserError
        If the file is refused; the sentence has the reason.
    """
    _, keras = load()
    config = checked_config(path)
    try:
        kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
        model = kind.from_config(config["config"])
        model.load_weights(path)
    except UserError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise _refusal(path, f"it does not rebuild ({type(error).__name__}: {text})") from error
    return model


def checked_config(path: Path) -> dict[str, Any]:
    """Return the config of a model file after checking both, or raise `UserError` with the reason."""
    try:
        with h5py.File(path, "r") as file:
            _check_objects(path, file)
            raw = file.attrs.get("model_config")
    except OSError as error:
        raise _refusal(path, f"it is not HDF5 ({error})") from error
    if raw is None:
        raise _refusal(path, "it has no model in it, only data")
    text = raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)
    if len(text) > MAX_CONFIG_BYTES:
        raise _refusal(path, f"its config has {len(text)} bytes")
    config: dict[str, Any] = json.loads(text)
    _check_config(path, config)
    return config


def _check_objects(path: Path, group: Any, depth: int = 0) -> None:
    total = 0
    if depth > MAX_DEPTH:
        raise _refusal(path, "its groups are nested without end")
    for name in group:
        if reason := leads_outside(group, name):
            raise _refusal(path, reason)
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_objects(path, item, depth + 1)
            continue
        total += int(np.prod(item.shape, dtype=np.float64)) if item.shape else 1
        if total > MAX_WEIGHTS:
            raise _refusal(path, f"{name!r} has the shape {item.shape}, beyond {MAX_WEIGHTS} numbers")


def _check_config(path: Path, config: Any) -> None:
    _, keras = load()
    for item in _objects(path, config):
        name, module = str(item["class_name"]), str(item.get("module") or "keras")
        if name in REFUSED:
            raise _refusal(path, f"it has a {name} layer, which runs code or reaches out of the model")
        if module.split(".")[0] != "keras" or item.get("registered_name") not in (None, name):
            raise _refusal(path, f"its {name} ({module}) is not Keras' own")
        places = (keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.dtype_policies)
        if name not in _MODELS and not any(hasattr(place, name) for place in places):
            raise _refusal(path, f"Keras has no {name}")


def _objects(path: Path, config: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield everything in a config that names a class; refuse absurd sizes on the way."""
    if depth > MAX_DEPTH:
        raise _refusal(path, "its config is nested without end")
    if isinstance(config, dict):
        if "class_name" in config and config["class_name"] not in _MARKERS:
            yield config
        for value in config.values():
            yield from _objects(path, value, depth + 1)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(path, value, depth + 1)
    elif isinstance(config, int | float) and not isinstance(config, bool) and abs(config) > MAX_WEIGHTS:
        raise _refusal(path, f"its config has a size of {config:g}")


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(f"model file {path} is refused: {reason}")
