"""What Prometheus reads: one registry a server, so that several can live in one process (tests)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._followed: Collector | None = None
        self.requests = Counter(
            "lit_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "lit_request_seconds", "Time to the end of the answer", ["route"], registry=self.registry
        )
        self.clients = Gauge("lit_ws_clients", "Open WebSockets", registry=self.registry)
        self.lagged = Counter("lit_ws_lagged", "Times a slow client was conflated", registry=self.registry)
        self.hub_lag = Gauge(
            "lit_hub_lag_messages", "Messages not yet read", ["team", "stream"], registry=self.registry
        )
        self.restarts = Gauge("lit_worker_restarts", "Restarts of a worker", ["worker"], registry=self.registry)
        self.up = Gauge("lit_worker_up", "Whether a worker runs", ["worker"], registry=self.registry)

    def follow(self, collector: Collector) -> None:
        """Ask a collector too, in place of the one before: an application over the same parts has its own."""
        if self._followed is not None:
            self.registry.unregister(self._followed)
        self._followed = collector
        self.registry.register(collector)

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)
