"""Tells of alerts: in the log, in the team's events topic, and to a webhook that is tried again until it answers.

A webhook gets a POST of JSON with `X-LIT-Id` (the same for each attempt), `X-LIT-Timestamp` (seconds since the epoch)
and, with a secret, `X-LIT-Signature: sha256=<hex>`: the HMAC-SHA256 of `timestamp + "." + body` by the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
import uuid
from collections import deque

import httpx
import msgspec

from lit.serving.alerts import Alert, Rules
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.records import Event, encode_json
from lit.streams.tick import iso_ms

log = logging.getLogger(__name__)

#: Waits between attempts, seconds; then it is given up, and the log says so.
ATTEMPTS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
_TIMEOUT_SECONDS = 10.0
#: Posts that may wait for one webhook; more are dropped, and the log says so.
_WAITING = 1000

#: Headers and body.
_Post = tuple[dict[str, str], bytes]


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a post."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Notifier:
    """Tells of alerts without making anybody wait.

    Each webhook has its own queue and, while something is in it, a thread: posts come in order, and one webhook that
    is slow or does not answer keeps no other waiting.
    """

    def __init__(self, bootstrap: str, replication: int = 1, attempts: tuple[float, ...] = ATTEMPTS) -> None:
        self._bootstrap, self._replication, self._attempts = bootstrap, replication, attempts
        self._producer = producer(bootstrap, log_level=0, error_cb=lambda _: None)
        self._topics: set[str] = set()
        self._posts: dict[str, deque[_Post]] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()

    def tell(self, team: str, alert: Alert, rules: Rules) -> None:
        """Tell of an alert."""
        log.warning("%s/%s", team, alert.sentence)
        now = time.time_ns()
        event = Event("alert", alert.deployment, alert.status, iso_ms(now), msgspec.to_builtins(alert))
        self.publish(team, event)
        if rules.webhook is None:
            return
        body = msgspec.json.encode({"team": team, "time": event.time, **msgspec.to_builtins(alert)})
        stamp = str(now // 1_000_000_000)
        headers = {"Content-Type": "application/json", "X-LIT-Id": uuid.uuid4().hex, "X-LIT-Timestamp": stamp}
        if rules.secret is not None:
            headers["X-LIT-Signature"] = signature(rules.secret, stamp, body)
        self._post(rules.webhook, (headers, body))

    def publish(self, team: str, event: Event) -> None:
        """Put an event into the team's events topic."""
        topic = topics.events(team)
        if topic.name not in self._topics:
            topics.create_topics(self._bootstrap, topic, replication=self._replication)
            self._topics.add(topic.name)
        self._producer.produce(topic.name, key=event.name.encode(), value=encode_json(event))
        self._producer.poll(0)

    def close(self) -> None:
        """Stop; posts that wait are dropped."""
        self._end.set()
        self._producer.flush(2.0)
        with self._lock:
            threads = list(self._threads.values())
        until = time.monotonic() + _TIMEOUT_SECONDS + 2.0
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _post(self, address: str, post: _Post) -> None:
        with self._lock:
            waiting = self._posts.setdefault(address, deque())
            if len(waiting) >= _WAITING:
                log.error("webhook %s: %d posts wait, this one is dropped", address, _WAITING)
                return
            waiting.append(post)
            if address not in self._threads:
                thread = threading.Thread(target=self._run, args=(address,), name="webhook", daemon=True)
                self._threads[address] = thread
                thread.start()

    def _run(self, address: str) -> None:
        with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client:
            while True:
                with self._lock:
                    waiting = self._posts[address]
                    if not waiting or self._end.is_set():
                        del self._posts[address], self._threads[address]
                        return
                    headers, body = waiting.popleft()
                self._deliver(client, address, headers, body)

    def _deliver(self, client: httpx.Client, address: str, headers: dict[str, str], body: bytes) -> None:
        for wait in (*self._attempts, None):
            try:
                answer = client.post(address, headers=headers, content=body)
                if answer.status_code < 300:
                    return
                said = f"answered {answer.status_code}"
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                said = f"gave no answer ({type(error).__name__})"
            if wait is None:
                log.error("webhook %s %s: given up after %d attempts", address, said, len(self._attempts) + 1)
            elif self._end.wait(wait):
                return
