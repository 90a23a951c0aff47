"""The one place that imports TensorFlow and Keras: quiet, deterministic, on the device that was asked for.

Everything numeric that a run promises (same seed, same numbers; a resumed run equals an uninterrupted one) rests on
these settings, so training and serving both come through here.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

from lit.streams.errors import UserError

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "KERAS_BACKEND": "tensorflow",
    # oneDNN's kernels sum in an order that depends on the machine.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def devices() -> list[str]:
    """List what a run can use, without importing TensorFlow: `cpu`, then `gpu:0`… as the driver shows them."""
    found = sorted(
        int(match[1]) for path in Path("/dev").glob("nvidia*") if (match := re.fullmatch(r"nvidia(\d+)", path.name))
    )
    return ["cpu", *(f"gpu:{number}" for number in found)]


def checked_device(device: str) -> str:
    """Return the device, or raise `UserError` if this machine does not have it."""
    if device not in devices():
        raise UserError(f"device {device!r} is not on this machine: choose one of {', '.join(devices())}")
    return device


def load(device: str = "cpu") -> tuple[Any, Any]:
    """Import TensorFlow and Keras for one device and return both modules.

    The device counts only for the first call of a process: TensorFlow sees its devices once.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", device.removeprefix("gpu:") if device != "cpu" else "-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_op_determinism()
    return tf, keras


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, and restart Keras' naming, so that equal calls build equal models."""
    _, keras = load()
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
