"""Where a live stream stands: a checkpoint, and the tick topic behind it, from which a restarted stream goes on.

The topic is the truth: the checkpoint only says where to begin to read it. It holds all that was sent when it was made,
and offsets up to which the topic was surely in it, so reading on from there finds each block that it lacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from lit.streams.clients import bounds, consumer
from lit.streams.codec import PoisonError, decode
from lit.streams.errors import FaultError
from lit.streams.live_blocks import SymbolState
from lit.streams.sequence import Numbering, Sequence, SequenceState
from lit.streams.tick import TickBlock, Watermark

CHECKPOINT = b"checkpoint"
#: Numbers of a block's ticks by channel, as runs; and which gap of its symbol a gap is, from 1.
SEQUENCE_HEADER, GAP_HEADER = "sequence", "gap-number"
_SECONDS = 15.0


class LiveState(msgspec.Struct):
    """All that a stream must know of what it sent.

    Parameters
    ----------
    offsets
        Partition → offset from which the topic may hold what is not in here.
    position
        The adapter's own.
    behind
        How far the feed was behind the wall clock, ns.
    """

    offsets: dict[str, int] = msgspec.field(default_factory=dict)
    symbols: dict[str, SymbolState] = msgspec.field(default_factory=dict)
    position: Any = None
    behind: int | None = None

    def encoded(self, offsets: dict[int, int]) -> bytes:
        """Return the checkpoint as it is written, over the offsets known to be in it."""
        merged = {**self.offsets, **{str(partition): offset for partition, offset in offsets.items()}}
        return msgspec.json.encode(msgspec.structs.replace(self, offsets=merged))

    def apply(
        self,
        item: TickBlock | Watermark,
        numbers: dict[str, list[list[int]]],
        numbering: Numbering,
        gap_number: int = 0,
    ) -> None:
        """Take a message of the topic into account; one that is known already changes nothing."""
        state = self.symbols.setdefault(item.symbol, SymbolState())
        if isinstance(item, Watermark):
            if item.ends:
                state.ended = True
            elif item.gap is None:
                state.floor = max(state.floor, item.timestamp)
            elif gap_number > state.told:
                state.told = gap_number
                if item.gap.reason == "sequence" and item.gap.missed:
                    any(Sequence(numbering, one).told(item.gap.missed) for one in state.sequences.values())
            return
        if item.next_index <= state.next_index:
            return
        state.next_index = item.next_index
        state.last = max(state.last, int(item.timestamp.max()))
        for channel, runs in numbers.items():
            known = state.sequences.setdefault(channel, SequenceState())
            watched = Sequence(numbering, known)
            for first, last in runs:
                if numbering != "contiguous":
                    known.last = max(last, -1 if known.last is None else known.last)
                elif watched.skip_run(first, last) is None:
                    for number in range(first, last + 1):
                        watched.take(number)


def resume(bootstrap: str, topic: str, state_topic: str, numbering: Numbering) -> LiveState:
    """Return where a stream stands: its last checkpoint, and what its topic holds behind it.

    Raises
    ------
    FaultError
        If Kafka cannot be read.
    """
    state = LiveState()
    for message in _read(bootstrap, state_topic, lambda _partition, _low, high: high - 1):
        if message.key() == CHECKPOINT:
            state = msgspec.json.decode(message.value() or b"{}", type=LiveState)
    for known in state.symbols.values():
        for numbers in known.sequences.values():
            for hole in numbers.holes:
                hole.at = 0.0  # it was noticed by another process, whose clock means nothing here
    ends: dict[int, int] = {}

    def begin(partition: int, low: int, high: int) -> int:
        ends[partition] = high
        return max(low, state.offsets.get(str(partition), low))

    for message in _read(bootstrap, topic, begin):
        try:
            item = decode(message.key(), message.value(), message.headers())
        except PoisonError:
            continue
        headers = dict(message.headers() or ())
        found = msgspec.json.decode(headers.get(SEQUENCE_HEADER, b"{}"))
        state.apply(item, found, numbering, int(headers.get(GAP_HEADER, b"0")))
    state.offsets = {str(partition): end for partition, end in ends.items()}
    return state


def _read(bootstrap: str, topic: str, begin: Any) -> Iterator[Message]:
    """Yield what each partition holds now from the offset that `begin(partition, low, high)` names."""
    reader: Any = consumer(bootstrap, f"{topic}-resume", **{"log_level": 0})
    try:
        for partition in reader.list_topics(topic, timeout=_SECONDS).topics[topic].partitions:
            low, high = bounds(reader, topic, partition, _SECONDS)
            start = max(low, begin(partition, low, high))
            if start < high:
                yield from _partition(reader, topic, partition, start, high)
    except KafkaException as error:
        raise FaultError(
            f"topic {topic} could not be read from Kafka at {bootstrap}: {error.args[0].str()}. "
            "`lit doctor` tells whether the broker runs."
        ) from error
    finally:
        reader.close()


def _partition(reader: Any, topic: str, partition: int, start: int, stop: int) -> Iterator[Message]:
    place = TopicPartition(topic, partition, start)
    reader.assign([place])
    deadline = time.monotonic() + _SECONDS
    while True:
        message = reader.poll(0.5)
        if message is None:
            position = reader.position([TopicPartition(topic, partition)])[0].offset
            if position >= stop:
                return
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"offset {position} did not arrive"))
            continue
        if message.error():
            raise KafkaException(message.error())
        deadline = time.monotonic() + _SECONDS
        if message.offset() < stop:
            yield message
        if message.offset() >= stop - 1:
            return
