"""Keras callbacks for programs that train within `lit.run`. Importing this imports Keras."""

from __future__ import annotations

import time
from typing import Any

from keras.callbacks import Callback

from lit.autolog import attach
from lit.code_run import CodeRun, current
from lit.trainer.runfolder import save_model
from lit.trainer.trust import own_layers


def csv(models: bool = True) -> Callback:
    """Return a callback that keeps each epoch in the run: metrics in perf.csv, model in `saved_models`.

    Parameters
    ----------
    models
        Whether to save the model after each epoch.

    Raises
    ------
    UserError
        If the program is not within `lit.run`.
    """
    run = current()
    attach(run)  # the program may have imported Keras after the run began
    return _Epochs(run, models)


class _Epochs(Callback):  # type: ignore[misc]  # Keras has no types
    """Several calls of `fit` within one run count their epochs on."""

    def __init__(self, run: CodeRun, models: bool) -> None:
        super().__init__()
        self._run, self._models, self._begun = run, models, time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Describe the model."""
        del logs
        model = self.model
        inputs = [_spec(tensor, f"input {number}") for number, tensor in enumerate(model.inputs, 1)]
        self._run.folder.write_json(
            "features.json",
            {
                "inputs": inputs,
                "label": _spec(model.outputs[0], "output"),
                "asset": {},
                "own_layers": own_layers(model),
                "nodes": [
                    {"node": layer.name, "component": type(layer).__name__, "parameters": layer.count_params()}
                    for layer in model.layers
                ],
            },
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        del epoch, logs
        self._begun = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the model, then write the row: what has a row has a model."""
        del epoch
        number = self._run.epoch + 1
        row = {"seconds": round(time.monotonic() - self._begun, 3)}
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is not None:
            row["learning_rate"] = float(rate)
        if self._models:
            save_model(self.model, self._run.folder, number)
        self._run.log({**row, **(logs or {})}, epoch=number)


def _spec(tensor: Any, name: str) -> dict[str, Any]:
    shape = list(tensor.shape[1:])
    columns = [str(number) for number in range(shape[-1] or 0)] if shape else ["0"]
    return {"name": getattr(tensor, "name", "") or name, "shape": shape, "columns": columns}
