"""A topic of somebody's Kafka as the source of a stream adapter: read from kept offsets on, so that nothing is lost.

Offsets number the ticks: `sequence` is a message's offset, `channel` its partition. Positions are kept every few
seconds, and what is read again after a restart is known by its offset.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from lit.plugins.traders.stream import Feed, UserError
from lit.streams.tick import from_iso

_CALL_SECONDS, _KEEP_SECONDS, _BATCH = 10.0, 2.0, 2000
_REFUSED = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
)


class KafkaSource:
    """Reads a topic.

    Parameters
    ----------
    feed
        The stream's feed; `feed.position` holds offsets by partition.
    config
        librdkafka settings: `bootstrap.servers` and security.
    topic
        Its name.
    start
        Where a new stream begins: `latest`, `earliest`, or an ISO time.

    Setting `due` lets the position be kept behind the messages at hand.
    """

    def __init__(self, feed: Feed, config: dict[str, Any], topic: str, start: str = "latest") -> None:
        self._feed, self._topic, self._start = feed, topic, start
        self.due = False
        self._begin = _begin(start)
        self._errors: list[KafkaError] = []
        settings = {
            "group.id": "lit",  # nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "log_level": 0,
            "error_cb": self._errors.append,
            **config,
        }
        try:
            self._consumer: Any = Consumer(settings)
        except KafkaException as error:  # a setting that there is not, or a file that is not there
            raise UserError(f"the settings of the cluster are of no use: {error.args[0].str()}") from error

    async def batches(self, keep: Callable[[], dict[str, Any]] = dict) -> AsyncIterator[list[Message]]:
        """Yield messages as they come, at most 2,000 at once.

        Parameters
        ----------
        keep
            What else to keep beside the offsets.

        Raises
        ------
        UserError
            If the cluster refuses access or has no such topic.
        ConnectionError
            If it is gone.
        """
        try:
            offsets, lost = await asyncio.to_thread(self._assign)
            if lost:  # how many of each symbol's messages are gone, nobody knows
                self._feed.gap("retention")
            self._feed.connected()
            await self._feed.keep({"offsets": dict(offsets), **keep()})
            kept = time.monotonic()
            while True:
                try:
                    messages = await asyncio.to_thread(self._read)
                except ConnectionError:  # what was read so far need not be read again
                    await self._feed.keep({"offsets": dict(offsets), **keep()})
                    raise
                for message in messages:
                    offsets[str(message.partition())] = message.offset() + 1
                self._feed.alive()
                yield messages
                if self.due or time.monotonic() - kept > _KEEP_SECONDS:
                    kept, self.due = time.monotonic(), False
                    await self._feed.keep({"offsets": dict(offsets), **keep()})
        finally:
            await asyncio.to_thread(self._consumer.close)

    def _assign(self) -> tuple[dict[str, int], bool]:
        """Begin to read; returns where, and whether messages are gone that were not read yet."""
        lost = False
        kept = (self._feed.position or {}).get("offsets", {})
        offsets = {}
        for partition in self._partitions():
            low, high = self._bounds(partition)
            wanted = int(kept.get(str(partition), -1))
            if wanted < 0:
                wanted = self._first(partition, low, high)
            elif wanted < low or wanted > high:
                lost, wanted = True, low
            offsets[str(partition)] = wanted
        self._consumer.assign([TopicPartition(self._topic, int(number), place) for number, place in offsets.items()])
        return offsets, lost

    def _partitions(self) -> list[int]:
        deadline = time.monotonic() + _CALL_SECONDS
        while True:
            try:
                found = self._consumer.list_topics(self._topic, timeout=1.0).topics[self._topic]
                if found.error is not None:
                    if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise UserError(f"there is no topic {self._topic!r}")
                    raise KafkaException(found.error)
                return list(found.partitions)
            except KafkaException as error:
                self._check(error.args[0])
                self._consumer.poll(0.05)  # serves the error callback
                self._check(None)
                if time.monotonic() > deadline:
                    raise ConnectionError(error.args[0].str()) from error

    def _bounds(self, partition: int) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), _CALL_SECONDS)
        except KafkaException as error:
            self._check(error.args[0])
            raise ConnectionError(error.args[0].str()) from error
        return low, high

    def _first(self, partition: int, low: int, high: int) -> int:
        if self._begin is None:
            return high if self._start == "latest" else low
        asked = TopicPartition(self._topic, partition, self._begin)
        found = self._consumer.offsets_for_times([asked], _CALL_SECONDS)[0].offset
        return int(found) if found >= 0 else high

    def _read(self) -> list[Message]:
        first = self._consumer.poll(0.2)
        self._check(None)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(_BATCH, 0)]
        for message in messages:
            if message.error() is not None:
                self._check(message.error())
                raise ConnectionError(message.error().str())
        return messages

    def _check(self, error: KafkaError | None) -> None:
        """Raise what no further attempt would mend; a cluster that is gone for good counts as lost."""
        errors, self._errors[:] = [*self._errors, *([error] if error else [])], []
        for found in errors:
            if found.code() in _REFUSED:
                raise UserError(f"the cluster of {self._topic} refuses access: {found.str()}")
            if found.code() == KafkaError._ALL_BROKERS_DOWN:
                raise ConnectionError("no broker of the cluster answers")


def _begin(start: str) -> int | None:
    """Return the time that a start names, ms; None for a place."""
    if start in ("latest", "earliest"):
        return None
    try:
        return from_iso(start) // 1_000_000
    except ValueError as error:
        raise UserError(f"start {start!r} is neither latest nor earliest: {error}") from None
