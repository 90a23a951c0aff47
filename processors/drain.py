"""What a topic holds, into the store, up to its present end: the sink's work as a plain loop, where no sink runs."""

from __future__ import annotations

import logging
import time

from confluent_kafka import KafkaException, TopicPartition

from lit.processors.sink import INSERT_TICKS
from lit.streams.clients import bounds, consumer
from lit.streams.codec import PoisonError, decode
from lit.streams.errors import FaultError
from lit.streams.store import TickStore
from lit.streams.tick import TickBlock

log = logging.getLogger(__name__)

_TIMEOUT = 10.0
#: A partition that says nothing for so long while it should have more is taken for a dead broker.
_SILENCE_SECONDS = 60.0


def drain(bootstrap: str, topic: str, source: str, store: TickStore) -> int:
    """Store the ticks of a topic that the store has not, and return their number.

    Raises
    ------
    FaultError
        If Kafka does not answer, or the store refuses.
    """
    reader = consumer(bootstrap, "lit-drain")
    try:
        applied = store.applied(source)
        partitions = reader.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions
        spans = {number: bounds(reader, topic, number, _TIMEOUT) for number in partitions}
        begins = {number: max(low, applied.get(number, -1) + 1) for number, (low, _) in spans.items()}
        ends = {number: high for number, (_, high) in spans.items() if begins[number] < high}
        reader.assign([TopicPartition(topic, number, begins[number]) for number in ends])
        return _drain(reader, source, store, ends)
    except KafkaException as error:
        raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}. `lit doctor` tells.") from error
    finally:
        reader.close()


def _drain(reader: object, source: str, store: TickStore, ends: dict[int, int]) -> int:
    pending: dict[int, list[tuple[int, TickBlock]]] = {number: [] for number in ends}
    counts = dict.fromkeys(ends, 0)
    total, heard = 0, time.monotonic()

    def insert(number: int) -> None:
        nonlocal total
        if pending[number]:
            store.insert(source, number, pending[number])
        total += counts[number]
        pending[number], counts[number] = [], 0

    while ends:
        message = reader.poll(0.2)  # type: ignore[attr-defined]
        if message is None or message.error() is not None:
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise FaultError("Kafka says nothing although the topic goes on: `lit doctor` tells what is wrong")
            continue
        heard, number = time.monotonic(), message.partition()
        if number not in ends:
            continue
        try:
            item = decode(message.key(), message.value(), message.headers())
            if isinstance(item, TickBlock) and len(item):
                pending[number].append((message.offset(), item))
                counts[number] += len(item)
        except PoisonError as error:
            log.error("offset %d is skipped: %s", message.offset(), error)
        over = message.offset() + 1 >= ends[number]
        if over or counts[number] >= INSERT_TICKS:
            insert(number)
        if over:
            del ends[number]
    return total
