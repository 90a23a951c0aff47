"""Output and state of one partition, written in one transaction: the base of "nothing lost, nothing twice".

The owner of an input partition has a transactional producer of that partition's own id, so that a successor's
`init_transactions` fences whoever owned it before. The state says which input offset it includes; a message at or
below it is a repeat. Committed group offsets are a hint that never leads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from lit.streams.clients import bounds, consumer, producer_config
from lit.streams.codec import PoisonError, decode
from lit.streams.errors import FaultError
from lit.streams.tick import TickBlock, Watermark

#: The broker aborts a silent owner's transaction after this time, so that readers are not held up for long.
TRANSACTION_TIMEOUT_MS = 10_000
_CALL_SECONDS = 15.0
_ASK_SECONDS = 5.0
#: Holes of a feed that are remembered.
_GAPS = 100
#: Pause between a partition's transactions. Without it one took 9 ms at the median and 61 at p99, with it 6 and 11.
_REST_SECONDS = 0.005
_SILENCE_SECONDS = 60.0
#: Of a fenced producer the client writes two lines to stderr by itself, before ours.
_UNHEARD = logging.getLogger("librdkafka")
_UNHEARD.disabled = True
#: What the broker answers to whom a successor took the transactional id from, or whose transaction it has ended.
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class SequenceError(FaultError):
    """A block is missing: going on would publish what is wrong."""


def unseen(item: TickBlock | Watermark, expected: int, where: str) -> TickBlock | Watermark | None:
    """Return what of a message a consumer that expects tick `expected` of its symbol has not had; None: nothing.

    Parameters
    ----------
    where
        Where the message was met, for the error's sentence.

    Raises
    ------
    SequenceError
        If ticks before it are missing.
    """
    first = item.first_index if isinstance(item, TickBlock) else item.next_index
    if first > expected:
        raise SequenceError(f"ticks {expected} to {first - 1} of {item.symbol} are missing {where}")
    if isinstance(item, Watermark):
        return item if first == expected else None
    return item.slice(expected - first) if item.next_index > expected else None


def with_gap(gaps: list[int], item: TickBlock | Watermark) -> list[int]:
    """Return the first ticks after the latest holes of a feed, with the hole that a message marks."""
    if isinstance(item, TickBlock) or item.gap is None or item.next_index in gaps:
        return gaps
    return [*gaps, item.next_index][-_GAPS:]


def at_offset(offset: int) -> str:
    """Say where a gap of a stream's tick topic was met, and what to do."""
    return f"at offset {offset}: the tick topic has a gap, replay it into a new stream"


class TransactionalPartition:
    """The transactional producer and the state topic of one input partition.

    Parameters
    ----------
    bootstrap
        Bootstrap servers.
    app_id
        The processor; with topic and partition it makes the transactional id.
    topic, partition
        The input.
    state_topic
        Compacted topic with the input's partitions.

    Raises
    ------
    FaultError
        If a transaction fails in any way: the process must end, and its successor goes on from the state.
    """

    def __init__(self, bootstrap: str, app_id: str, topic: str, partition: int, state_topic: str) -> None:
        self._bootstrap = bootstrap
        self._partition = partition
        self._state_topic = state_topic
        self._id = f"{app_id}-{topic}-{partition}"
        self._producer = Producer(
            producer_config(
                bootstrap,
                **{
                    "transactional.id": self._id,
                    "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                    "linger.ms": 0,
                    "logger": _UNHEARD,
                },
            )
        )
        self._failed: KafkaError | None = None
        self._ended = 0.0
        self._call("take over", lambda: self._producer.init_transactions(_CALL_SECONDS))

    def read_state(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the newest committed record of each key of the state partition."""
        newest: dict[bytes, bytes | None] = {}
        for message in read_messages(self._bootstrap, self._state_topic, self._partition):
            newest[message.key()] = message.value()
        for key, value in newest.items():
            if value is not None:
                yield key, value

    def begin(self) -> None:
        """Open a transaction, a moment after the last one: the broker still ends it when it has said so.

        One that begins at once is refused and tried again by the client some 20 ms later.
        """
        time.sleep(max(0.0, self._ended + _REST_SECONDS - time.monotonic()))
        self._call("begin", self._producer.begin_transaction)

    def send(self, topic: str, key: bytes, value: bytes, partition: int | None = None, **extra: object) -> None:
        """Add a message to the transaction (same partition as the input unless given)."""
        message = {
            "key": key,
            "value": value,
            "partition": self._partition if partition is None else partition,
            "on_delivery": self._delivered,
        }
        while True:
            try:
                self._call("send", partial(self._producer.produce, topic, **message, **extra))
                return
            except BufferError:
                self._producer.poll(0.1)

    def send_state(self, key: bytes, value: bytes) -> None:
        """Add a state record to the transaction."""
        self.send(self._state_topic, key, value)

    def commit(self) -> None:
        """Close the transaction: all of it is visible, or none."""
        self._call("commit", lambda: self._producer.commit_transaction(_CALL_SECONDS))
        self._ended = time.monotonic()
        if self._failed is not None:
            raise FaultError(f"Kafka refused a message of {self._id}: {self._failed.str()}")

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed = error

    def _call(self, what: str, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in _FENCED or self._is_fenced(what, cause):
                raise FaultError(
                    f"transaction of {self._id} was fenced: another worker has taken over, or it took longer than "
                    f"{TRANSACTION_TIMEOUT_MS // 1000} s"
                ) from error
            raise FaultError(
                f"transaction of {self._id} could not {what}: {cause.str()} "
                "(another worker may have taken over, or the broker is gone)"
            ) from error

    def _is_fenced(self, what: str, told: KafkaError) -> bool:
        """Ask the broker, by committing once more or by aborting: not each error of a fenced owner says so."""
        again = what == "commit" and told.retriable()
        end = self._producer.commit_transaction if again else self._producer.abort_transaction
        try:
            end(_ASK_SECONDS)
        except KafkaException as error:
            return error.args[0].code() in _FENCED
        return False


def read_partition(bootstrap: str, topic: str, partition: int) -> Iterator[bytes]:
    """Yield the values of all committed messages that a partition holds now."""
    for message in read_messages(bootstrap, topic, partition):
        yield message.value()


def read_messages(
    bootstrap: str, topic: str, partition: int, first: int = 0, settled: bool = False
) -> Iterator[Message]:
    """Yield all committed messages that a partition holds now, from offset `first` on.

    Parameters
    ----------
    settled
        Whether transactions that are under way now are waited for. A transaction becomes visible in each partition by
        itself: who saw it in one partition may have to wait for it in another.

    Raises
    ------
    FaultError
        If the topic cannot be read.
    """
    reader = consumer(bootstrap, f"{topic}-reader", **{"enable.partition.eof": True})
    silent_since = time.monotonic()
    try:
        end = _end_of(bootstrap, topic, partition) if settled else _committed_end(reader, topic, partition)
        if first >= end:
            return
        reader.assign([TopicPartition(topic, partition, first)])
        while True:
            message = reader.poll(1.0)
            if message is None:
                if time.monotonic() - silent_since > _SILENCE_SECONDS:
                    raise FaultError(f"topic {topic} gave no answer for {_SILENCE_SECONDS:.0f} s: is the broker up?")
                continue
            silent_since = time.monotonic()
            error = message.error()
            if error is None:
                if int(message.offset() or 0) >= end:  # it is still being written: its end may never be met
                    return
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                if not settled or int(message.offset() or 0) >= end:
                    return
            else:
                raise FaultError(f"topic {topic} could not be read: {error.str()}")
    finally:
        reader.close()


def read_ticks(bootstrap: str, topic: str, partition: int) -> Iterator[TickBlock | Watermark]:
    """Yield what a partition of a tick topic holds now; what cannot be decoded is left out, as processors do."""
    for message in read_messages(bootstrap, topic, partition):
        try:
            yield decode(message.key(), message.value(), message.headers())
        except PoisonError:
            continue


def _end_of(bootstrap: str, topic: str, partition: int) -> int:
    """Return a partition's end, behind what is not committed yet."""
    reader = consumer(bootstrap, f"{topic}-reader", **{"isolation.level": "read_uncommitted"})
    try:
        return _committed_end(reader, topic, partition)
    finally:
        reader.close()


def _committed_end(reader: Consumer, topic: str, partition: int) -> int:
    """Return a partition's end as its reader sees it."""
    try:
        return bounds(reader, topic, partition, _CALL_SECONDS)[1]
    except KafkaException as error:
        raise FaultError(f"topic {topic} could not be read: {error.args[0].str()}") from error
