"""From the cache's topic to a build's: cached files as one sequence a symbol, in the schema's order, messages unopened.

The cache keeps each file's ticks under an origin of their own and in any order; a build wants a symbol's files one
after the other. Blocks are passed on as they are, under the index that they have in the build: no parsing, no copy in
Python but the messages themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from lit.streams.clients import bounds, consumer
from lit.streams.codec import TICKS, Encoded, decode, encode
from lit.streams.errors import FaultError
from lit.streams.replay_send import Sender
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark

_BATCH = 64
_WAIT_SECONDS = 0.05
#: A partition that says nothing for so long while it should have more is taken for a dead broker.
_SILENCE_SECONDS = 60.0
_BUFFER_KBYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """Ticks of one symbol of one cached file; in a build's sequence of that symbol they begin at `base`."""

    symbol: str
    origin: str
    base: int
    count: int


@dataclass
class _Sequence:
    """How far a symbol's sequence is: `pieces` not begun or under way, `expected` is the next index in the first."""

    pieces: list[Piece]
    expected: int = 0
    #: Where later pieces were met before their turn: partition → first offset of them.
    skipped: dict[int, int] = field(default_factory=dict)


class Pump:
    """Passes the ticks of cached files on.

    Parameters
    ----------
    bootstrap, source, target
        Kafka, the cache's topic, the build's.
    pieces
        What to pass on, each symbol's in order.
    delivery_seconds
        How long Kafka may take to accept a message.
    """

    def __init__(
        self, bootstrap: str, source: str, target: str, pieces: Sequence[Piece], delivery_seconds: float = 30.0
    ) -> None:
        self._bootstrap, self._source = bootstrap, source
        self._sequences: dict[str, _Sequence] = {}
        for piece in pieces:
            if piece.count:
                self._sequences.setdefault(piece.symbol, _Sequence([])).pieces.append(piece)
        self._ends = {symbol: s.pieces[-1].base + s.pieces[-1].count for symbol, s in self._sequences.items()}
        self._sender = Sender(bootstrap, target, delivery_seconds)
        self.sent = 0

    def run(self, on_batch: Callable[[], None] = lambda: None) -> list[Piece]:
        """Pass everything on, each symbol's end behind its last tick; `on_batch` is called every now and then.

        Returns
        -------
        list of Piece
            What the topic does not hold (any more); nothing is sent behind such a hole.

        Raises
        ------
        FaultError
            If Kafka gives nothing or takes nothing.
        """
        reader = consumer(
            self._bootstrap,
            "lit-build-pump",
            **{"queued.max.messages.kbytes": _BUFFER_KBYTES, "fetch.wait.max.ms": 50, "check.crcs": False},
        )
        try:
            starts, ends = self._bounds(reader)
            while starts and self._sequences:
                awaited = {symbol: len(sequence.pieces) for symbol, sequence in self._sequences.items()}
                self._pass_over(reader, starts, ends, on_batch)
                starts = self._next_starts(awaited)
            self._sender.finish()
        except KafkaException as error:
            self._sender.abandon()
            raise FaultError(f"Kafka at {self._bootstrap} does not give {self._source}: {error}") from error
        except BaseException:
            self._sender.abandon()
            raise
        finally:
            reader.close()
        return [piece for sequence in self._sequences.values() for piece in sequence.pieces]

    def _bounds(self, reader: Any) -> tuple[dict[int, int], dict[int, int]]:
        found = reader.list_topics(self._source, timeout=10).topics[self._source]
        spans = {number: bounds(reader, self._source, number) for number in found.partitions}
        spans = {number: span for number, span in spans.items() if span[0] < span[1]}
        return {n: low for n, (low, _) in spans.items()}, {n: high for n, (_, high) in spans.items()}

    def _next_starts(self, awaited: dict[str, int]) -> dict[int, int]:
        """Return where to read again for pieces that were met before their turn.

        A symbol whose first piece did not get whole in a whole pass has a hole there: another pass would not fill it.
        """
        starts: dict[int, int] = {}
        for symbol, sequence in self._sequences.items():
            if len(sequence.pieces) < awaited[symbol]:
                for partition, offset in sequence.skipped.items():
                    starts[partition] = min(offset, starts.get(partition, offset))
            sequence.skipped.clear()
        return starts

    def _pass_over(
        self, reader: Any, starts: dict[int, int], ends: dict[int, int], on_batch: Callable[[], None]
    ) -> None:
        reader.assign([TopicPartition(self._source, number, offset) for number, offset in starts.items()])
        left = dict.fromkeys(starts)
        silent = 0.0
        while left and self._sequences:
            messages = reader.consume(_BATCH, _WAIT_SECONDS)
            silent = 0.0 if messages else silent + _WAIT_SECONDS
            if silent > _SILENCE_SECONDS:
                raise FaultError(f"Kafka at {self._bootstrap} gives no more of {self._source}: is the broker running?")
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                self._take(message)
                if message.offset() + 1 >= ends[message.partition()]:
                    left.pop(message.partition(), None)
            on_batch()

    def _take(self, message: Message) -> None:
        headers = dict(message.headers() or ())
        sequence = self._sequences.get((message.key() or b"").decode())
        if sequence is None or headers.get("content-type") != TICKS:
            return
        piece, origin = sequence.pieces[0], headers.get("origin", b"").decode()
        if origin != piece.origin:
            if any(later.origin == origin for later in sequence.pieces[1:]):
                sequence.skipped.setdefault(message.partition(), message.offset())
            return
        first, count = int(headers["first-index"]), int(headers["count"])
        if first + count <= sequence.expected or first > sequence.expected:
            return  # a repeat, or behind a hole that stays unfilled
        self._pass_on(message, headers, piece, first, sequence.expected - first)
        sequence.expected = first + count
        if sequence.expected >= piece.count:
            sequence.pieces.pop(0)
            sequence.expected = 0
        if not sequence.pieces:
            del self._sequences[piece.symbol]
            self._sender.send(Watermark(piece.symbol, END_OF_TIME, self._ends[piece.symbol]), "", 0)

    def _pass_on(self, message: Message, headers: dict[str, bytes], piece: Piece, first: int, skip: int) -> None:
        count = int(headers["count"])
        if skip or first + count > piece.count:
            block = decode(message.key(), message.value(), headers)
            assert isinstance(block, TickBlock)
            batch = block.slice(skip, piece.count - first).batch
            block = TickBlock(block.symbol, piece.base + first + skip, batch)
            moved, count = encode(block), len(block)
        else:
            headers.pop("origin", None)
            headers["first-index"] = str(piece.base + first).encode()
            moved = Encoded(message.key(), message.value(), list(headers.items()))
        self._sender.send_encoded(moved, 0)
        self.sent += count
