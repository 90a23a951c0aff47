"""Sends blocks in order, with back-pressure; the first failed delivery stops everything with a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from lit.streams.clients import producer
from lit.streams.codec import Encoded, encode
from lit.streams.errors import FaultError
from lit.streams.tick import TickBlock, Watermark


class Sender:
    """Produces blocks and watermarks to one topic; use `finish` to know that all arrived.

    `acknowledged` is, by partition, the offset behind the last message that the broker has.

    A gap can never arise: librdkafka ends the producer rather than send what follows a lost message.
    """

    def __init__(self, bootstrap: str, topic: str, delivery_timeout: float) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self.acknowledged: dict[int, int] = {}
        self._failed: KafkaError | None = None
        self._producer = producer(
            bootstrap,
            **{
                "enable.gapless.guarantee": True,
                "message.timeout.ms": int(delivery_timeout * 1000),
                "linger.ms": 5,
                "log_level": 0,
                "error_cb": self._on_error,
            },
        )

    def send(
        self, item: TickBlock | Watermark, mark: str, time_ns: int, extra: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        """Hand over one message; its Kafka timestamp is `time_ns` in ms. Waits while the queue is full.

        Parameters
        ----------
        item
            A block or a watermark.
        mark
            Digest of what a replay read it from; empty: none.
        time_ns
            ns since the epoch.
        extra
            Further headers.

        Raises
        ------
        FaultError
            If a message could not be delivered.
        """
        message = encode(item)
        headers = [*message.headers, *extra, *([("replay", mark.encode())] if mark else [])]
        self.send_encoded(Encoded(message.key, message.value, headers), time_ns)

    def send_encoded(self, message: Encoded, time_ns: int) -> None:
        """Hand over one message that is encoded already (see `send`)."""
        while True:
            self._check()
            try:
                self._producer.produce(
                    self._topic,
                    key=message.key,
                    value=message.value,
                    headers=message.headers,
                    timestamp=max(time_ns // 1_000_000, 0),
                    on_delivery=self._on_delivery,
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                raise self._fault(error.args[0]) from error

    def publish(self, topic: str, key: bytes, value: bytes, partition: int = -1) -> None:
        """Hand over a message for another topic; one that the queue has no room for is dropped."""
        with contextlib.suppress(BufferError):
            self._producer.produce(topic, key=key, value=value, partition=partition)

    def poll(self, seconds: float) -> None:
        """Wait and serve delivery reports."""
        self._producer.poll(seconds)
        self._check()

    def finish(self) -> None:
        """Wait until everything was acknowledged, else raise `FaultError`."""
        while len(self._producer):
            self._producer.flush(0.2)
            self._check()
        self._check()

    def abandon(self) -> None:
        """Drop what was not sent yet."""
        self._producer.purge()
        self._producer.flush(1)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged[int(message.partition() or 0)] = int(message.offset() or 0) + 1
        elif self._failed is None:
            self._failed = error

    def _on_error(self, error: Any) -> None:
        if error.fatal() and self._failed is None:
            self._failed = error

    def _check(self) -> None:
        if self._failed is not None:
            raise self._fault(self._failed)

    def _fault(self, error: KafkaError) -> FaultError:
        return FaultError(
            f"Kafka at {self._bootstrap} did not take ticks for {self._topic}: {error.str()}. "
            "When the broker runs again, repeat the command; it goes on where it stopped."
        )
