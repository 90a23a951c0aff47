"""What a model is trained for: fits loss, label and output to each other, and labels to what the loss wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError
from lit.trainer.metrics import Baseline

Labels = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss with the task it stands for.

    Attributes
    ----------
    task : str
        `binary`, `classes` or `regression`, as in `metrics.evaluate`.
    loss : str
        Name of the Keras loss.
    units : int
        Outputs of the model.
    """

    task: str
    loss: str
    units: int

    def targets(self, labels: npt.NDArray[np.float32]) -> Labels:
        """Return labels of any shape as (n, columns), the form that the loss compares with predictions."""
        return np.ascontiguousarray(labels.reshape(len(labels), -1))

    def truths(self, targets: Labels) -> Labels:
        """Return targets as metrics want them: classes one-hot."""
        if self.loss == "sparse_categorical_crossentropy":
            return np.eye(self.units, dtype=np.float32)[targets[:, 0].astype(np.int64)]
        return targets

    def classes(self, targets: Labels) -> npt.NDArray[np.int64]:
        """Return each target's class number; for a regression all are of one class."""
        if self.task == "binary":
            return (targets[:, 0] >= 0.5).astype(np.int64)
        if self.task == "regression":
            return np.zeros(len(targets), np.int64)
        column = targets[:, 0] if self.loss.startswith("sparse") else targets.argmax(axis=1)
        return column.astype(np.int64)

    def baseline(self, targets: Labels) -> Baseline:
        """Return what a guess from these labels alone would say."""
        return Baseline.of(self.truths(targets))

    def check(self, targets: Labels, label: str, node: str) -> None:
        """Raise `UserError`, naming the node, if these labels cannot be learnt with this loss."""
        low, high = float(targets.min()), float(targets.max())
        if not np.isfinite([low, high]).all():
            raise UserError(f"node {node}: label {label!r} has values that are not finite: look at its feature")
        if self.loss == "sparse_categorical_crossentropy":
            whole = bool(np.all(targets == np.floor(targets)))
            if targets.shape[1] != 1 or low < 0 or high >= self.units or not whole:
                raise UserError(
                    f"node {node}: label {label!r} has values from {low:g} to {high:g} in {targets.shape[1]} columns, "
                    f"the output has {self.units} classes: it needs one column with numbers 0 to {self.units - 1}"
                )
            return
        if targets.shape[1] != self.units:
            raise UserError(
                f"node {node}: label {label!r} has {targets.shape[1]} columns, the output {self.units} units: "
                "they must be as many"
            )
        if self.task != "regression" and (low < 0 or high > 1):
            raise UserError(
                f"node {node}: label {label!r} has values from {low:g} to {high:g}, but loss {self.loss} wants 0 to 1: "
                "use activation linear, or another label"
            )


def objective(model: Any, loss: str, label_columns: int, node: str) -> Objective:
    """Find the objective of a model from its output's activation; `loss` may be `auto` or a Keras loss' name.

    Raises
    ------
    UserError
        If loss and activation do not go together.
    """
    units = int(model.output_shape[-1])
    activation = _activation(model)
    fitting = {
        "sigmoid": ("binary_crossentropy",),
        "softmax": ("sparse_categorical_crossentropy", "categorical_crossentropy"),
    }.get(activation, ("mse", "mae", "huber"))
    if loss == "auto":
        loss = fitting[1] if activation == "softmax" and label_columns > 1 else fitting[0]
    if loss not in (*fitting, "mse", "mae", "huber"):
        raise UserError(
            f"node {node}: loss {loss} does not go with activation {activation}: use {' or '.join(fitting)}, or auto"
        )
    task = {"sigmoid": "binary", "softmax": "classes"}.get(activation, "regression")
    return Objective(task, loss, units)


def _activation(model: Any) -> str:
    layer = model.layers[-1]
    for candidate in model.layers:
        if any(tensor is model.output for tensor in candidate._inbound_nodes[-1].output_tensors):
            layer = candidate
    return str(getattr(getattr(layer, "activation", None), "__name__", "linear"))
