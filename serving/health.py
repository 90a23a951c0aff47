"""How a deployment's worker is doing, as its state topic has it every few seconds: progress, lag, latency, drift."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from lit.serving.drift import Shift, drift_of
from lit.streams.tick import iso_ms

#: Latencies are of the last so many predictions.
LATENCIES = 1000


class Health(msgspec.Struct, frozen=True):
    """A partition of a deployment.

    Parameters
    ----------
    time
        When this was written, ISO 8601 UTC.
    position, lag
        Last message of ticks that was taken, and how many were waiting behind it then.
    predictions
        Made since the worker started, by model.
    latency_ms_p50, latency_ms_p99
        From the arrival of the ticks that close a bar to publishing, of the last 1000 predictions; null without any.
    last_prediction
        When the last one was published, ISO 8601 UTC; null where there is none.
    shifts
        Model → `feature.column` → its latest values by bin (see `lit.serving.drift.drift_of`).
    passed_over
        Bars since the worker started at which a model predicted nothing: its features rejected them, or lack history.
    """

    deployment: str
    partition: int
    time: str
    position: int
    lag: int
    predictions: dict[str, int]
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    last_prediction: str | None = None
    shifts: dict[str, dict[str, Shift]] = {}
    passed_over: dict[str, int] = {}


def drift_by_model(parts: Sequence[Health]) -> dict[str, dict[str, float]]:
    """Return model → `feature.column` → population stability index, of a deployment's partitions together."""
    models = dict.fromkeys(model for part in parts for model in part.shifts)
    by_time = sorted(parts, key=lambda part: part.time)
    return {model: drift_of(part.shifts[model] for part in by_time if model in part.shifts) for model in models}


@dataclass
class HealthTally:
    """Running numbers of one partition."""

    deployment: str
    partition: int
    end: int = 0
    drift: dict[str, dict[str, Shift]] = field(default_factory=dict)
    _made: dict[str, int] = field(default_factory=dict)
    last: str | None = None
    _passed: dict[str, int] = field(default_factory=dict)
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))

    def arrived(self, position: int) -> None:
        """Count messages up to a position as taken."""
        self.end = max(self.end, position + 1)

    def predicted(self, model: str, latency_ms: float, published_at: str) -> None:
        """Count a prediction."""
        self.last = published_at
        self._made[model] = self._made.get(model, 0) + 1
        self._latencies.append(latency_ms)

    def passed_over(self, model: str, bars: int) -> None:
        """Count bars at which a model predicted nothing."""
        if bars:
            self._passed[model] = self._passed.get(model, 0) + bars

    def record(self, position: int) -> Health:
        """Return the numbers as of now."""
        ordered = sorted(self._latencies)

        def quantile(share: float) -> float | None:
            return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None

        return Health(
            self.deployment,
            self.partition,
            iso_ms(time.time_ns()),
            position,
            max(0, self.end - position - 1),
            dict(self._made),
            quantile(0.5),
            quantile(0.99),
            self.last,
            self.drift,
            dict(self._passed),
        )
