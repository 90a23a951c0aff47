"""Events of runs on Kafka (`lit.{team}.events`), for who watches live. The run's own folder stays the record."""

from __future__ import annotations

from confluent_kafka import KafkaException

from lit.streams import topics
from lit.streams.broker import answers
from lit.streams.clients import producer
from lit.streams.errors import LitError
from lit.streams.records import Event, encode_json

#: An event that the broker has not taken after this long is of no use to who watches live.
_DELIVERY_MS = 30_000
_FLUSH_SECONDS = 5.0
_ANSWER_SECONDS = 5.0


class Announcer:
    """Publishes events as long as the broker takes them; no training fails or waits because it does not.

    Parameters
    ----------
    bootstrap
        Kafka's address; None publishes nothing.
    team
        Whose events.
    """

    def __init__(self, bootstrap: str | None, team: str) -> None:
        self._topic = topics.events(team)
        self._producer = None
        if not bootstrap or not answers(bootstrap, _ANSWER_SECONDS):
            return
        try:
            topics.create_topics(bootstrap, self._topic)
            quiet = {"log_level": 0, "error_cb": lambda _: None, "message.timeout.ms": _DELIVERY_MS}
            self._producer = producer(bootstrap, **quiet)
        except (KafkaException, LitError):
            self._producer = None

    def __call__(self, event: Event) -> None:
        """Publish an event, keyed by what it is of."""
        if self._producer is None:
            return
        try:
            self._producer.produce(self._topic.name, key=event.name.encode(), value=encode_json(event))
            self._producer.poll(0)
        except (KafkaException, BufferError):
            return

    def close(self) -> None:
        """Wait a little for what is on its way."""
        if self._producer is not None:
            self._producer.flush(_FLUSH_SECONDS)
