"""Watches all deployments: their scores, their workers' health, and who must be told; never a worker itself.

One thread reads Kafka and judges the rules; routes read what it knows. It is not the worker that it watches, so a
worker that is gone is silent here too.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from lit.api.services import Services, server_name
from lit.serving.alerts import Alert, AlertBook, Facts, Rules
from lit.serving.config import SHADOW
from lit.serving.health import Health, drift_by_model
from lit.serving.notify import Notifier
from lit.serving.opening import Deployment
from lit.serving.partition import HEALTH
from lit.serving.score_report import ScoreReports
from lit.streams import topics
from lit.streams.atomic import write_file
from lit.streams.clients import consumer
from lit.streams.dedup import Dedup
from lit.streams.errors import LitError
from lit.streams.records import Event, Score
from lit.streams.sessions import REGULAR, session_codes
from lit.streams.tick import from_iso, iso_ms

log = logging.getLogger(__name__)

LOOK_SECONDS, JUDGE_SECONDS = 2.0, 2.0
_MESSAGES, _WAIT_SECONDS, _CALL_SECONDS = 500, 0.2, 10.0
#: Health that is older than this says that nobody works.
STALE_SECONDS = 30.0


@dataclass
class Watched:
    """A deployment as the monitor knows it.

    One that is served `on_request`, by an output stream, publishes nothing, so it is never silent.
    """

    team: str
    file: Deployment
    on_request: bool
    book: AlertBook
    reports: ScoreReports = field(default_factory=ScoreReports)
    health: dict[int, Health] = field(default_factory=dict)
    dedup: dict[str, Dedup] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    since: float = field(default_factory=time.time)
    predicted_at: float = 0.0
    counts: bool = False
    complaint: str | None = None
    process: tuple[str, int | None] | None = None

    def alive(self, now: float) -> list[Health]:
        """Return what partitions told of late; `now` in seconds since the epoch."""
        return [h for h in self.health.values() if now - from_iso(h.time) / 1e9 < STALE_SECONDS]

    def facts(self, now: float) -> Facts:
        """Return what the rules are judged by; `now` in seconds since the epoch."""
        alive = self.alive(now)
        stamps = [from_iso(h.last_prediction) / 1e9 for h in self.health.values() if h.last_prediction]
        self.predicted_at = max([self.predicted_at, *stamps])
        rules = Rules.of(self.file.alerts)
        counts = bool(self.file.output.models or self.file.output.shadow) and not self.on_request
        if counts and rules.calendar is not None:
            counts = session_codes(rules.calendar, np.array([int(now * 1e9)]))[0] == REGULAR
        if counts and not self.counts:  # it got models, or the exchange opened: silence begins now at the earliest
            self.since = now
        self.counts = counts
        # silence that stands ends by a prediction, not by a restart or the next opening
        heard = max(self.predicted_at, 0.0 if ("silence", "predictions") in self.book.standing else self.since)
        latencies = [h.latency_ms_p99 for h in alive if h.latency_ms_p99 is not None]
        return Facts(
            drift=drift_by_model(alive),
            silent_seconds=now - heard if counts and heard else None,
            lag=float(sum(h.lag for h in alive)) if alive else None,
            latency_ms=max(latencies, default=None),
            recent={
                model: self.reports.recent(model) for model in (*self.file.output.models, *self.file.output.shadow)
            },
            models=frozenset((*self.file.output.models, *self.file.output.shadow)),
        )


class Monitor:
    """Follows the deployments of all teams."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._file = services.config.private / "alerts.json"
        self._watched: dict[tuple[str, str], Watched] = {}
        self._topics: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._consumer: Any = None
        self._notifier: Any = None
        self._judged = self._looked = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(_CALL_SECONDS)
        if self._notifier is not None:
            self._notifier.close()

    def of(self, team: str, name: str) -> Watched | None:
        """Return what is known of a deployment; hold `lock` while reading it."""
        return self._watched.get((team, name))

    def alive(self) -> dict[tuple[str, str], list[Health]]:
        """Return what the partitions of each deployment, by team and name, told of late."""
        now = time.time()
        with self._lock:
            return {key: watched.alive(now) for key, watched in self._watched.items()}

    @property
    def lock(self) -> threading.Lock:
        """Held while what is known changes."""
        return self._lock

    def _run(self) -> None:
        config = self._services.config
        self._consumer = consumer(config.bootstrap, "lit.monitor", **{"log_level": 0})
        self._notifier = Notifier(config.bootstrap, config.replication)
        try:
            while not self._end.is_set():
                try:
                    self._round()
                except (KafkaException, LitError) as error:
                    log.warning("monitor: %s", error)
                    self._end.wait(1.0)
        except Exception:
            log.exception("monitor ends: alerts and reports stand still until the server is started again")
        finally:
            self._consumer.close()

    def _round(self) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        if not self._topics:
            self._end.wait(_WAIT_SECONDS)
        else:
            messages = self._consumer.consume(_MESSAGES, _WAIT_SECONDS)
            with self._lock:
                for message in messages:
                    self._take(message)
        if now - self._judged >= JUDGE_SECONDS:
            self._judged = now
            self._judge()

    def _look(self) -> None:
        """Follow deployments that are new, as far as their topics are there; forget those that are gone."""
        standing = self._standing()
        found: dict[tuple[str, str], tuple[Deployment, bool]] = {}
        for team in self._services.teams():
            outputs = self._services.outputs(team)
            for name, file in self._services.deployments(team).items():
                found[team, name] = file.opened(), file.stream in outputs
        known = None
        with self._lock:
            for key in [key for key in self._watched if key not in found]:
                del self._watched[key]
                self._forget(key)
            for key, (opened, on_request) in found.items():
                if key in self._watched:
                    self._watched[key].file, self._watched[key].on_request = opened, on_request
                else:
                    book = AlertBook(key[1], standing.get("/".join(key)))
                    self._watched[key] = Watched(key[0], opened, on_request, book)
        for key in found:
            wanted = [name for name in _topics_of(*key) if name not in self._topics]
            if wanted and known is None:
                known = self._consumer.list_topics(timeout=_CALL_SECONDS).topics
            for name in wanted:
                if known and name in known and known[name].partitions:
                    places = [TopicPartition(name, number, 0) for number in known[name].partitions]
                    self._consumer.incremental_assign(places)
                    self._topics[name] = key

    def _forget(self, key: tuple[str, str]) -> None:
        for name in [name for name, owner in self._topics.items() if owner == key]:
            numbers = [p for p in self._consumer.assignment() if p.topic == name]
            self._consumer.incremental_unassign(numbers)
            del self._topics[name]

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                log.warning("monitor: %s", error.str())
            return
        watched = self._watched.get(self._topics.get(str(message.topic()), ("", "")))
        value = message.value()
        if watched is None or value is None:
            return
        try:
            if ".state." not in str(message.topic()):
                score = msgspec.json.decode(value, type=Score)
                # a model that was promoted has scores in two topics, which are read in no order
                if watched.dedup.setdefault(str(message.topic()), Dedup()).is_new(score):
                    watched.reports.add(score)
            elif message.key() == HEALTH:
                health = msgspec.json.decode(value, type=Health)
                watched.health[health.partition] = health
        except (msgspec.MsgspecError, ValueError) as problem:
            log.error("%s offset %s is skipped: %s", message.topic(), message.offset(), problem)

    def _judge(self) -> None:
        changed = False
        for watched in list(self._watched.values()):
            try:
                rules = Rules.of(watched.file.alerts)
                with self._lock:
                    alerts = watched.book.judge(rules, watched.facts(time.time()))
                    watched.alerts = (watched.alerts + alerts)[-100:]
            except LitError as error:  # of this deployment; the others are judged
                if watched.complaint != str(error):
                    log.warning("%s/%s is not watched: %s", watched.team, watched.file.name, error)
                watched.complaint = str(error)
                continue
            watched.complaint = None
            for alert in alerts:
                changed = True
                self._notifier.tell(watched.team, alert, rules)
            self._tell_status(watched)
        if changed:
            kept = {"/".join(key): sorted(watched.book.standing) for key, watched in self._watched.items()}
            write_file(self._file, msgspec.json.encode(kept))

    def _tell_status(self, watched: Watched) -> None:
        """Publish what became of a deployment's process, when it is something else than before."""
        worker = server_name(watched.team, watched.file.name, watched.file.stream, watched.on_request)
        status = self._services.status_of(worker)
        now = (status.status, status.pid) if status is not None else ("stopped", None)
        if now != watched.process:
            watched.process = now
            detail = {"models": watched.file.output.models, "error": status.last_error if status else None}
            event = Event("deployment", watched.file.name, now[0], iso_ms(time.time_ns()), detail)
            self._notifier.publish(watched.team, event)

    def _standing(self) -> dict[str, set[tuple[str, str]]]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, set[tuple[str, str]]])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}


def _topics_of(team: str, name: str) -> list[str]:
    return [
        topics.scores(team, name).name,
        topics.scores(team, name + SHADOW).name,
        topics.state(team, "deployment", name).name,
    ]
