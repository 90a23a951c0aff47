"""Kafka producers and consumers with the settings that our delivery rests on, in one place."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from lit.streams.errors import FaultError, UserError
from lit.streams.topics import MAX_MESSAGE_BYTES, ticks

#: librdkafka writes to stderr by itself; what matters to a user reaches us as an error and is told in a sentence.
_LOG_LEVEL = 2


def producer_config(bootstrap: str, **extra: Any) -> dict[str, Any]:
    """Return settings of an idempotent producer; murmur2 places keys as Java clients do."""
    return {
        "bootstrap.servers": bootstrap,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "queue.buffering.max.kbytes": 128 * 1024,
        "log_level": _LOG_LEVEL,
        **extra,
    }


def producer(bootstrap: str, **extra: Any) -> Producer:
    """Return an idempotent producer."""
    return Producer(producer_config(bootstrap, **extra))


def consumer(bootstrap: str, group: str, **extra: Any) -> Consumer:
    """Return a consumer that reads committed data from the beginning and commits nothing by itself."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "log_level": _LOG_LEVEL,
            **extra,
        }
    )


def partitions_of(bootstrap: str, topic: str, seconds: float = 10.0) -> list[int]:
    """Return a topic's partitions, none if it does not exist.

    Raises
    ------
    FaultError
        If the broker gives no answer.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": _LOG_LEVEL})
    try:
        found = admin.list_topics(timeout=seconds).topics
    except KafkaException as error:
        raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}. `lit doctor` tells.") from error
    return sorted(found[topic].partitions) if topic in found else []


def tick_partitions(bootstrap: str, team: str, source: str) -> tuple[str, list[int]]:
    """Return a source's tick topic and its partitions.

    Raises
    ------
    UserError
        If there is no such topic.
    FaultError
        If the broker gives no answer.
    """
    topic = ticks(team, source).name
    if not (partitions := partitions_of(bootstrap, topic)):
        raise UserError(f"team {team!r} has no stream {source!r} with ticks: `lit topics` lists what there is")
    return topic, partitions


#: What a broker answers about a topic in the moments after it was created.
_YOUNG = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._UNKNOWN_PARTITION,
)


def bounds(reader: Consumer, topic: str, partition: int, seconds: float = 10.0) -> tuple[int, int]:
    """Return a partition's first offset and the one that its next message will have.

    Raises
    ------
    KafkaException
        If the broker gives no answer; a topic that was just created is waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=seconds)
            return int(low), int(high)
        except KafkaException as error:
            if error.args[0].code() not in _YOUNG or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
