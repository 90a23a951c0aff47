"""What Prometheus reads: one registry a server, so that several can live in one process (tests)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self.registry)
