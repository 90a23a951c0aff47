"""The training loop: steps, epochs, metrics and checkpoints of one model on one asset. No processes, no signals.

It is our own and not `model.fit`, so that it can stop between any two steps and go on exactly from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError
from lit.trainer.asset import Asset, Rows
from lit.trainer.backend import load
from lit.trainer.checkpoint import Checkpoint, capture, restore
from lit.trainer.compiler import Compiled
from lit.trainer.hyper import Hyper, class_weights
from lit.trainer.metrics import calibration, evaluate
from lit.trainer.normalisation import fit_normalisation
from lit.trainer.objective import Objective, objective
from lit.trainer.persistence import joined, labelled, last_known

#: A step that ends an epoch is always checkpointed; within an epoch, after this many seconds.
CHECKPOINT_SECONDS = 60.0
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Data:
    """What to train and validate on: a part of an asset each, all of it or some rows (ascending).

    `horizon` says after how many seconds a label is known, if that is; it is asked for if the label is a quantity.
    """

    train: Asset
    validation: Asset
    train_rows: Rows | None = None
    validation_rows: Rows | None = None
    horizon: Callable[[], float | None] = lambda: None


class Training:
    """One model in training.

    Parameters
    ----------
    compiled
        The model and what belongs to it.
    data
        Samples.
    hyper
        Settings.
    checkpoint
        File of the checkpoint; if it exists, training goes on from it.
    perf
        Rows of the epochs finished so far; rows past the checkpoint are dropped.
    node
        Id of the output node, for messages.

    Attributes
    ----------
    reliability : list of dict
        Of a binary label: the last epoch's reliability diagram over the validation samples, see `metrics.calibration`.
    """

    def __init__(
        self, compiled: Compiled, data: Data, hyper: Hyper, checkpoint: Path, perf: list[Row], node: str = "Output"
    ) -> None:
        self.model, self._data, self.hyper, self._path = compiled.model, data, hyper, checkpoint
        self._tf, self._keras = load()
        self._features = [spec.name for spec in compiled.inputs]
        self._label = compiled.label.name
        self.objective: Objective = objective(self.model, hyper.loss, math.prod(compiled.label.shape), node)
        self._optimizer = compiled.settings.get("optimizer") or self._keras.optimizers.Adam(hyper.learning_rate)
        self._optimizer.build(self.model.trainable_variables)
        self._loss = self._keras.losses.get(self.objective.loss)
        targets = self._targets(data.train, data.train_rows)
        self._validation_targets = self._targets(data.validation, data.validation_rows)
        self.objective.check(targets, self._label, node)
        self.objective.check(self._validation_targets, self._label, node)
        self._baseline = self.objective.baseline(targets)
        self._persistence = self._last_known(targets)
        self._weights = class_weights(hyper.class_weights, self.objective.classes(targets).astype(np.float32))
        self._samples = len(targets)
        self._state = Checkpoint.load(checkpoint)
        if self._state is None:
            fit_normalisation(self.model, data.train, self._features, data.train_rows)
            self._state = Checkpoint(digest=data.train.digest)
        elif self._state.digest != data.train.digest:
            raise UserError("the asset was built anew since this run began: start a new run")
        else:
            restore(self.model, self._optimizer, self._state.variables)
        self.perf = [row for row in perf if row["epoch"] <= self._state.epoch]
        self._step, self._predict = self._compiled_step(), self._compiled_predict()
        self.reliability: list[dict[str, float]] = []

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        assert self._state is not None
        return self._state.epoch

    def run(self, on_epoch: Callable[[Row], None], interrupted: Callable[[], bool]) -> bool:
        """Train until the epochs are done or patience runs out; return False if interrupted before.

        `on_epoch` is called with an epoch's row when its model can be saved; only after it returns does the
        checkpoint pass the epoch, so a crash repeats an epoch and never skips what `on_epoch` does.
        """
        while self.epoch < self.hyper.epochs and not (self.perf and self.hyper.should_stop(self.perf)):
            row = self._run_epoch(interrupted)
            if row is None:
                return False
            self.perf.append(row)
            on_epoch(row)
            self._state = Checkpoint(
                int(row["epoch"]), 0, capture(self.model, self._optimizer), {}, self._data.train.digest
            )
            self._state.save(self._path)
            if interrupted():
                return False
        return True

    def _run_epoch(self, interrupted: Callable[[], bool]) -> Row | None:
        state = self._state
        assert state is not None
        epoch, begun, saved = state.epoch + 1, time.monotonic() - state.seconds, time.monotonic()
        rate = self.hyper.rate(epoch, self.perf)
        self._optimizer.learning_rate.assign(rate)
        seen = _Seen(state.seen)
        names = [*self._features, self._label]
        batches = self._data.train.dataset(
            names,
            self.hyper.batch_size,
            seed=self.hyper.seed,
            epoch=epoch,
            start=state.step,
            rows=self._data.train_rows,
        )
        for step, batch in enumerate(batches, state.step + 1):
            targets = self.objective.targets(batch[self._label].numpy())
            predictions, loss = self._step([batch[name] for name in self._features], targets, self._weigh(targets))
            seen.add(targets, predictions.numpy(), float(loss))
            last = step * self.hyper.batch_size >= self._samples
            overdue = time.monotonic() - saved > CHECKPOINT_SECONDS
            if not last and (overdue or interrupted()):
                saved = time.monotonic()
                self._state = Checkpoint(
                    state.epoch,
                    step,
                    capture(self.model, self._optimizer),
                    seen.arrays(),
                    self._data.train.digest,
                    saved - begun,
                )
                self._state.save(self._path)
                if interrupted():
                    return None
        return self._row(epoch, rate, seen, begun)

    def _row(self, epoch: int, rate: float, seen: _Seen, begun: float) -> Row:
        found = seen.arrays()
        row: Row = {"epoch": epoch, "seconds": 0.0, "learning_rate": rate}
        row |= self._measured("", found["labels"], found["predictions"], seen.loss)
        predictions = self._predictions()
        if self.objective.task == "binary":
            is_so = self._validation_targets.ravel() >= 0.5
            self.reliability = calibration(is_so, predictions.ravel().astype(np.float64))
        loss = self._mean_loss(self._validation_targets, predictions)
        row |= self._measured("val_", self._validation_targets, predictions, loss)
        if not math.isfinite(row["loss"]):
            raise UserError(
                f"the loss is {row['loss']} in epoch {epoch}: lower learning_rate, set clip_norm, or scale the inputs"
            )
        if self.hyper.monitor not in row:
            raise UserError(f"monitor {self.hyper.monitor!r} is no column of perf.csv: use one of {', '.join(row)}")
        row["seconds"] = round(time.monotonic() - begun, 3)
        wanted = {name.strip().removeprefix("val_") for name in self.hyper.metrics.split(",") if name.strip()}
        always = {"epoch", "seconds", "learning_rate", "loss", self.hyper.monitor.removeprefix("val_")}
        return {k: v for k, v in row.items() if not wanted or k.removeprefix("val_") in wanted | always}

    def _measured(self, prefix: str, targets: Any, predictions: Any, loss: float) -> Row:
        truths = self.objective.truths(targets)
        same = self._persistence if prefix else None  # as base_…: a guess is compared on validation samples
        found = evaluate(self.objective.task, truths, predictions, self._baseline, self.hyper.threshold, same)
        return {f"{prefix}loss": loss} | {
            f"{prefix}{name}": value
            for name, value in found.items()
            if prefix or not name.startswith("base_")  # a guess is compared on validation samples
        }

    def _targets(self, asset: Asset, rows: Rows | None) -> npt.NDArray[np.float32]:
        parts = [chunk[self._label] for chunk in asset.chunks([self._label], rows, 65_536)]
        if not sum(len(part) for part in parts):
            raise UserError(
                f"{asset.path.name} of the asset has no samples: choose another split, or build with more data"
            )
        return self.objective.targets(np.concatenate(parts))

    def _last_known(self, targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Return what the last known labels say of the validation samples, where the label is a quantity."""
        horizon = self._data.horizon() if self.objective.task == "regression" else None
        if horizon is None:
            return None
        data, numbers = self._data, dict[str, int]()
        train = labelled(data.train, data.train_rows, targets, numbers)
        asked = labelled(data.validation, data.validation_rows, self._validation_targets, numbers)
        return last_known(joined(train, asked), asked, horizon) if train and asked else None

    def _weigh(self, targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not self._weights:
            return np.ones(len(targets), np.float32)
        return np.array([self._weights.get(int(c), 1.0) for c in self.objective.classes(targets)], np.float32)

    def _predictions(self) -> npt.NDArray[np.float32]:
        chunks = self._data.validation.chunks(self._features, self._data.validation_rows, 1024)
        return np.concatenate([self._predict([chunk[name] for name in self._features]).numpy() for chunk in chunks])

    def _mean_loss(self, targets: Any, predictions: Any) -> float:
        losses = self._loss(self._tf.constant(targets), self._tf.constant(predictions))
        return float(np.mean(np.asarray(losses, np.float64)))

    def _compiled_step(self) -> Any:
        tf, model, optimizer, loss_of = self._tf, self.model, self._optimizer, self._loss

        def step(inputs: Any, targets: Any, weights: Any) -> Any:
            with tf.GradientTape() as tape:
                predictions = model(inputs, training=True)
                losses = loss_of(targets, predictions)
                loss = tf.reduce_mean(losses * weights)
                total = tf.add_n([loss, *model.losses]) if model.losses else loss
            gradients = tape.gradient(total, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return predictions, loss

        return tf.function(step, reduce_retracing=True)

    def _compiled_predict(self) -> Any:
        model = self.model
        return self._tf.function(lambda inputs: model(inputs, training=False), reduce_retracing=True)


class _Seen:
    """Labels, predictions and losses of an epoch's steps so far."""

    def __init__(self, before: dict[str, npt.NDArray[Any]]) -> None:
        self._labels = [before["labels"]] if before else []
        self._predictions = [before["predictions"]] if before else []
        self._losses = [tuple(pair) for pair in before["losses"]] if before else []

    def add(self, labels: Any, predictions: Any, loss: float) -> None:
        self._labels.append(labels)
        self._predictions.append(predictions)
        self._losses.append((loss, float(len(labels))))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "labels": np.concatenate(self._labels),
            "predictions": np.concatenate(self._predictions),
            "losses": np.array(self._losses, np.float64),
        }

    @property
    def loss(self) -> float:
        """Mean loss a sample."""
        losses = np.array(self._losses, np.float64)
        return float(np.sum(losses[:, 0] * losses[:, 1]) / np.sum(losses[:, 1]))
