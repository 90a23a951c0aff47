"""From bars to predictions and scores, without Kafka: what a deployment does with each closed bar of a symbol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from lit.features.bars import Bars
from lit.features.engine import Feature, in_computing_order
from lit.features.intervals import Interval
from lit.features.probe import probe
from lit.features.window import NeedMoreData, SymbolWindow
from lit.streams.errors import UserError
from lit.streams.records import Bar, Prediction, Score
from lit.streams.tick import Float64Array, from_iso


class Predicts(Protocol):
    """A loaded model."""

    def predict(self, inputs: Mapping[str, Any]) -> Any:
        """Return the output for one sample's inputs."""


@dataclass(frozen=True)
class Model:
    """A model as a deployment uses it: what it reads, what it is scored by, how it predicts."""

    name: str
    inputs: Sequence[Feature]
    label: Feature | None
    predictor: Predicts
    dtype: str = "float32"
    epoch: int = 0

    def check(self, interval: Interval) -> None:
        """Raise `UserError` if the model reads what bars of `interval` do not hold."""
        features = [*self.inputs, *([self.label] if self.label else [])]
        for name, reads in probe(features).items():
            other = sorted(reads.intervals - {interval})
            if reads.ticks or other:
                what = "single ticks" if reads.ticks else f"bars of {other[0]}"
                raise UserError(
                    f"model {self.name!r} cannot be deployed on bars of {interval}: its feature {name!r} reads {what}"
                )


def bars_of(records: Sequence[Bar]) -> Bars:
    """Turn records back into columns."""
    return Bars(
        np.array(
            [
                (b.open, b.high, b.low, b.close, b.trades, b.volume, b.mean_trade_size, b.max_trade_size)
                for b in records
            ],
            np.float64,
        ).reshape(-1, 8),
        np.array([from_iso(b.start) for b in records], np.int64),
        np.array([from_iso(b.end) for b in records], np.int64),
        np.array([b.first_index for b in records], np.int64),
        np.array([b.last_index for b in records], np.int64),
        np.array([b.ordinal for b in records], np.int64),
    )


def inputs_digest(inputs: Mapping[str, Any]) -> str:
    """Return a short digest of a sample's inputs, by name, shape and bytes."""
    digest = hashlib.sha256()
    for name, value in inputs.items():
        digest.update(f"{name} {value.shape} {value.dtype}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return f"sha256:{digest.hexdigest()[:16]}"


@dataclass
class SymbolServing:
    """One symbol of a deployment: its window of bars, what was predicted and what waits for its outcome.

    Parameters
    ----------
    last
        Model → ordinal up to which predictions exist already.
    pending
        Model → predictions without a score, in order.
    """

    deployment: str
    symbol: str
    interval: Interval
    models: Sequence[Model]
    last: dict[str, int] = field(default_factory=dict)
    pending: dict[str, list[Prediction]] = field(default_factory=dict)
    window: SymbolWindow = field(init=False)

    def __post_init__(self) -> None:
        self.window = SymbolWindow(self.symbol)

    def feed(self, bar: Bar) -> None:
        """Take the next closed bar."""
        self.window.feed_bars(self.interval, bars_of([bar]))

    def predictions(self, bar: Bar) -> Iterator[Prediction]:
        """Yield each model's prediction at the bar's last tick; not stamped with times yet."""
        for model in self.models:
            if bar.ordinal <= self.last.get(model.name, -1):
                continue
            inputs = self.inputs(model, bar.last_index)
            if inputs is None:
                continue
            output = np.asarray(model.predictor.predict(inputs), np.float64).reshape(-1)
            prediction = Prediction(
                deployment=self.deployment,
                model=model.name,
                symbol=self.symbol,
                interval=str(self.interval),
                bar_start=bar.start,
                index=bar.last_index,
                prediction=output.tolist(),
                inputs_digest=inputs_digest(inputs),
                ordinal=bar.ordinal,
                published_at="",
                latency_ms=0.0,
                epoch=model.epoch,
            )
            self.last[model.name] = bar.ordinal
            yield prediction

    def inputs(self, model: Model, index: int) -> dict[str, Any] | None:
        """Compute a model's inputs at a tick, or None where a feature rejects the sample or lacks history."""
        others: dict[str, Float64Array] = {}
        for feature in in_computing_order(model.inputs):
            value = feature.compute(self.window, index, others)
            if value is None:
                return None
            others[feature.name] = value
        return {feature.name: others[feature.name].astype(model.dtype) for feature in model.inputs}

    def wait_for_outcome(self, prediction: Prediction) -> None:
        """Keep a published prediction until its label is known."""
        self.pending.setdefault(prediction.model, []).append(prediction)

    def scores(self) -> Iterator[Score]:
        """Yield scores of pending predictions whose label the bars now tell; rejected ones are dropped."""
        for model in self.models:
            waiting = self.pending.get(model.name, [])
            if model.label is None:
                waiting.clear()
            while waiting:
                try:
                    outcome = model.label.compute(self.window, waiting[0].index, {})  # type: ignore[union-attr]
                except NeedMoreData:
                    break
                prediction = waiting.pop(0)
                if outcome is not None:
                    yield Score(**msgspec.structs.asdict(prediction), outcome=np.ravel(outcome).tolist())
