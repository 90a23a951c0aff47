"""Predictions of a vault item by compiled functions of fixed signature: one sample in a few hundred microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.serving.safe_load import load_model
from lit.streams.errors import UserError
from lit.trainer.asset import FeatureSpec
from lit.trainer.backend import load
from lit.trainer.trust import rebuild
from lit.trainer.vault import VaultItem

Array = npt.NDArray[np.float32]
#: Samples that `predict_many` computes at a time: fixed, as a prediction's last bits depend on it.
BATCH = 64


def open_model(item: VaultItem) -> Any:
    """Return a vault item's model: from its file alone, or with its own layers where these are trusted.

    Raises
    ------
    UserError
        If the file is refused, or needs code that nobody has allowed.
    """
    return rebuild(item) if item.own_layers else load_model(item.model)


class Predictor:
    """A model ready to predict.

    `predict` always computes one sample, so a sample has the same prediction, bit for bit, whenever and wherever
    it is asked for. `predict_many` computes `BATCH` at a time, faster a sample, and may differ in the last bits.
    """

    def __init__(self, model: Any, inputs: tuple[FeatureSpec, ...]) -> None:
        tf, _ = load()
        self._tf, self.model, self.inputs = tf, model, inputs
        self.features = tuple(spec.name for spec in inputs)
        self._one, self._batch = self._compiled(1), self._compiled(BATCH)

    @classmethod
    def open(cls, item: VaultItem) -> Predictor:
        """Load a vault item's model safely and compile it; takes seconds, once.

        Raises
        ------
        UserError
            If the model file is refused, or does not take the item's features.
        """
        model = open_model(item)
        shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
        if shapes != [spec.shape for spec in item.inputs]:
            raise UserError(
                f"the model of vault item {item.name!r} takes {shapes}, "
                f"its features are {[spec.shape for spec in item.inputs]}"
            )
        return cls(model, item.inputs)

    def predict(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Array:
        """Predict one sample.

        Parameters
        ----------
        inputs
            Feature name → value of the sample, of the feature's shape; others than the model's are ignored.

        Returns
        -------
        ndarray
            float32 (outputs,).
        """
        values = [self._checked(spec, inputs)[None] for spec in self.inputs]
        return np.asarray(self._one(*map(self._tf.constant, values)))[0]

    def predict_many(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Array:
        """Predict samples along a first axis; returns float32 (n, outputs)."""
        values = [self._checked(spec, inputs, many=True) for spec in self.inputs]
        count = len(values[0])
        parts = []
        for first in range(0, count, BATCH):
            padded = [_padded(value[first : first + BATCH]) for value in values]
            parts.append(np.asarray(self._batch(*map(self._tf.constant, padded)))[: count - first])
        return np.concatenate(parts) if parts else np.empty((0, int(self.model.output_shape[-1])), np.float32)

    def _checked(self, spec: FeatureSpec, inputs: Mapping[str, npt.NDArray[Any]], many: bool = False) -> Array:
        if spec.name not in inputs:
            raise UserError(f"feature {spec.name!r} is missing: the model takes {', '.join(self.features)}")
        value = np.ascontiguousarray(inputs[spec.name], dtype=np.float32)
        if value.shape[1 if many else 0 :] != spec.shape:
            raise UserError(f"feature {spec.name!r} has the shape {value.shape}, the model takes {spec.shape}")
        return value

    def _compiled(self, batch: int) -> Any:
        model = self.model
        signature = [self._tf.TensorSpec((batch, *spec.shape), self._tf.float32) for spec in self.inputs]
        function = self._tf.function(lambda *values: model(list(values), training=False), input_signature=signature)
        return function.get_concrete_function()


def _padded(samples: Array) -> Array:
    """Return `BATCH` samples: those given, and the last one again (`np.pad` takes ten times as long)."""
    if len(samples) == BATCH:
        return samples
    full = np.empty((BATCH, *samples.shape[1:]), samples.dtype)
    full[: len(samples)], full[len(samples) :] = samples, samples[-1]
    return full
