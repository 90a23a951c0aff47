"""From closed bars to predictions and scores, without Kafka: models, one symbol's samples, batches of many symbols'."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Protocol

import msgspec
import numpy as np

from lit.features.engine import Feature, in_computing_order
from lit.features.intervals import Interval
from lit.features.probe import Reads, probe
from lit.features.window import NeedMoreData, SymbolWindow
from lit.serving.drift import Reference
from lit.serving.feed import SymbolFeed
from lit.streams.errors import UserError
from lit.streams.records import Bar, Prediction, Score
from lit.streams.tick import Float64Array

_dtype_name = cache(str)  # numpy makes it anew each time, which takes as long as the digest
#: A sample's inputs: feature name → value.
Inputs = dict[str, Any]


class Predicts(Protocol):
    """A loaded model."""

    def predict_many(self, inputs: Mapping[str, Any]) -> Any:
        """Return the outputs (n, columns) for n samples' inputs, stacked along a first axis."""


@dataclass(frozen=True)
class Model:
    """A model as a deployment uses it: what it reads, what it is scored by, how it predicts.

    Parameters
    ----------
    shadow
        Whether its predictions are kept from users.
    reference
        What its inputs were in training; none: drift is not watched.
    """

    name: str
    inputs: Sequence[Feature]
    label: Feature | None
    predictor: Predicts
    dtype: str = "float32"
    epoch: int = 0
    shadow: bool = False
    reference: Reference | None = None

    @cached_property
    def reads(self) -> Reads:
        """What its features and its label read of a stream."""
        found = probe([*self.inputs, *([self.label] if self.label else [])])
        return Reads(
            set().union(*(reads.intervals for reads in found.values())),
            any(reads.ticks for reads in found.values()),
        )

    def check(self) -> None:
        """Raise `UserError` if an input is a label: it would wait for the future forever."""
        for name, reads in probe(self.inputs).items():
            if reads.future:
                raise UserError(f"model {self.name!r} cannot be deployed: its input {name!r} reads the future")


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """Return a short digest of a sample's inputs, by name, shape and bytes."""
    digest = hashlib.sha256()
    for name, value in inputs.items():
        digest.update(f"{name} {value.shape} {_dtype_name(value.dtype)}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"


def inputs_of(model: Model, window: SymbolWindow, index: int) -> Inputs | None:
    """Compute a model's inputs at a tick, or None where a feature rejects the sample or lacks history."""
    others: dict[str, Float64Array] = {}
    for feature in in_computing_order(model.inputs):
        value = feature.compute(window, index, others)
        if value is None:
            return None
        others[feature.name] = value
    return {feature.name: others[feature.name].astype(model.dtype) for feature in model.inputs}


@dataclass(frozen=True, slots=True)
class Sample:
    """A closed bar of a symbol: models predict at its last tick."""

    feed: SymbolFeed
    bar: Bar


def predict(
    model: Model, deployment: str, interval: Interval, samples: Sequence[Sample]
) -> list[tuple[Prediction, Inputs]]:
    """Return a model's predictions for samples of any symbols, with their inputs; not stamped with times yet.

    Samples that a feature rejects have none. All are computed together, in batches of the predictor's one size.
    """
    kept: list[tuple[Sample, Inputs, bool]] = []
    for sample in samples:
        window, index = sample.feed.window, sample.bar.last_index
        window.oldest_read = index
        if (inputs := inputs_of(model, window, index)) is not None:
            kept.append((sample, inputs, sample.feed.reaches_over_gap(window.oldest_read, index)))
    if not kept:
        return []
    stacked = {feature.name: np.stack([inputs[feature.name] for _, inputs, _ in kept]) for feature in model.inputs}
    outputs = np.asarray(model.predictor.predict_many(stacked), np.float64).reshape(len(kept), -1)
    return [
        (
            Prediction(
                deployment=deployment,
                model=model.name,
                symbol=sample.bar.symbol,
                interval=str(interval),
                bar_start=sample.bar.start,
                index=sample.bar.last_index,
                prediction=output,
                inputs_digest=inputs_digest(inputs),
                ordinal=sample.bar.ordinal,
                published_at="",
                latency_ms=0.0,
                epoch=model.epoch,
                over_gap=over_gap,
            ),
            inputs,
        )
        for (sample, inputs, over_gap), output in zip(kept, outputs.tolist(), strict=True)
    ]


@dataclass
class Pending:
    """One symbol's predictions that wait for their outcome, by model, in order; and whether each is unseen by users.

    A model may have moved to the shadow, or out of it, since it predicted.
    """

    models: Sequence[Model]
    waiting: dict[str, list[tuple[bool, Prediction]]] = field(default_factory=dict)

    def add(self, prediction: Prediction, shadow: bool) -> None:
        """Keep a prediction until its label is known."""
        self.waiting.setdefault(prediction.model, []).append((shadow, prediction))

    def scores(self, window: SymbolWindow) -> Iterator[tuple[bool, Score]]:
        """Yield (unseen, score) of those whose label the window now tells; rejected ones are dropped."""
        for model in self.models:
            waiting = self.waiting.get(model.name, [])
            if model.label is None:
                waiting.clear()
            while waiting:
                try:
                    outcome = model.label.compute(window, waiting[0][1].index, {})  # type: ignore[union-attr]
                except NeedMoreData:
                    break
                shadow, prediction = waiting.pop(0)
                if outcome is not None:
                    yield shadow, Score(**msgspec.structs.asdict(prediction), outcome=np.ravel(outcome).tolist())
