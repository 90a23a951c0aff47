"""How far streams and deployments are behind, for Prometheus: read when it asks, so that what has ended disappears."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lit.api import definitions
from lit.api.monitor import Monitor
from lit.api.schemas import StreamFile
from lit.streams.live_health import read_health
from lit.streams.workspace import Workspace


class Lags(Collector):
    """Families of a server.

    Parameters
    ----------
    data
        The data root, where workers of streams write how they do.
    monitor
        Knows what the workers of deployments told last.
    """

    def __init__(self, data: Path, monitor: Monitor) -> None:
        self._data, self._monitor = data, monitor

    def collect(self) -> Iterator[Metric]:
        """Yield what is known now."""
        yield from self._streams()
        yield from self._deployments()

    def _streams(self) -> Iterator[Metric]:
        labels = ["team", "stream"]
        up = GaugeMetricFamily("lit_stream_up", "Whether a stream is live", labels=labels)
        lag = GaugeMetricFamily(
            "lit_stream_lag_seconds", "From the newest tick's market time to its arrival", labels=labels
        )
        silent = GaugeMetricFamily("lit_stream_silent_seconds", "Since the last tick arrived", labels=labels)
        counters = {
            name: CounterMetricFamily(f"lit_stream_{name}", f"{text} since the worker's start", labels=labels)
            for name, text in (("ticks", "Ticks"), ("gaps", "Gaps marked"), ("reconnects", "Connections made again"))
        }
        now = time.time()
        for team in definitions.teams(self._data):
            workspace = Workspace(self._data, team)
            for stream in sorted(definitions.names(workspace, StreamFile)):
                health = read_health(workspace, stream)
                if health is None:
                    continue
                key = [team, stream]
                up.add_metric(key, float(health.state == "live" and not health.stale(now)))
                if health.lag_ms is not None:
                    lag.add_metric(key, health.lag_ms / 1000)
                if health.last_received is not None:
                    silent.add_metric(key, max(0.0, now - health.last_received))
                for name, counter in counters.items():
                    counter.add_metric(key, getattr(health, name))
        yield from (up, lag, silent, *counters.values())

    def _deployments(self) -> Iterator[Metric]:
        labels = ["team", "deployment"]
        lag = GaugeMetricFamily(
            "lit_deployment_lag_messages", "Messages of ticks that wait, of partitions that work", labels=labels
        )
        latency = GaugeMetricFamily(
            "lit_deployment_latency_seconds",
            "From the arrival of the ticks that close a bar to its prediction, of the worst partition",
            labels=[*labels, "quantile"],
        )
        for key, parts in self._monitor.alive().items():
            if not parts:
                continue
            lag.add_metric(key, sum(part.lag for part in parts))
            for quantile, found in (
                ("0.5", [part.latency_ms_p50 for part in parts]),
                ("0.99", [part.latency_ms_p99 for part in parts]),
            ):
                if known := [value for value in found if value is not None]:
                    latency.add_metric([*key, quantile], max(known) / 1000)
        yield from (lag, latency)
