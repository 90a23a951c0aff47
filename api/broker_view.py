"""What the server knows of Kafka without reading messages: does it answer, which topics are there."""

from __future__ import annotations

import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

#: Names of topics are asked for again after this time.
FRESH_SECONDS = 1.0


class BrokerView:
    """Names of topics, cached for a second; thread-safe."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 1000})
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._asked = float("-inf")
        self._reachable = False

    def names(self) -> frozenset[str]:
        """Return the names of our topics; while Kafka does not answer, those seen last."""
        with self._lock:
            if time.monotonic() - self._asked > FRESH_SECONDS:
                try:
                    found = self._admin.list_topics(timeout=2.0).topics
                    self._names = frozenset(name for name in found if name.startswith("lit."))
                    self._reachable = True
                except KafkaException:
                    self._reachable = False
                self._asked = time.monotonic()
            return self._names

    def forget(self) -> None:
        """Ask Kafka anew at the next question: what is missed may have been made just now."""
        with self._lock:
            self._asked = float("-inf")

    def reachable(self) -> bool:
        """Tell whether Kafka answered when last asked, at most a second ago."""
        self.names()
        return self._reachable

    def sources(self, team: str) -> list[str]:
        """Return the sources of a team that have a tick topic."""
        begin = f"lit.{team}.ticks.".replace(" ", "_")
        return sorted(name.removeprefix(begin) for name in self.names() if name.startswith(begin))

    def teams(self) -> set[str]:
        """Return the teams that have a tick topic."""
        return {parts[1] for parts in (name.split(".") for name in self.names()) if parts[2:3] == ["ticks"]}
