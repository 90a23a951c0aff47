"""What a topic already holds, found from its end: the last message of each sequence, reading backwards as needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, Message, TopicPartition

from lit.streams.clients import bounds, consumer
from lit.streams.codec import WATERMARK
from lit.streams.errors import FaultError

_WINDOW = 64
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Last:
    """The last message of a sequence: the index that follows it, whether it ended the sequence, its replay mark."""

    next_index: int
    ends: bool
    mark: str


class Tail:
    """Looks up last messages by (origin, symbol); a window that was read is never read again.

    Parameters
    ----------
    begin
        First offset worth looking at by partition; from the topic's beginning where it names none.
    """

    def __init__(self, bootstrap: str, topic: str, begin: dict[int, int] | None = None) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self._consumer = consumer(bootstrap, "lit-replay-tail")
        self._found: dict[tuple[str, str], Last] = {}
        self._marks: set[str] = set()
        self._window = _WINDOW
        try:
            described = self._consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic]
            self._bounds: dict[int, tuple[int, int]] = {}
            for partition in described.partitions:
                low, high = bounds(self._consumer, topic, partition, _TIMEOUT)
                self._bounds[partition] = (max(low, (begin or {}).get(partition, 0)), high)
        except KafkaException as error:
            self.close()
            raise self._fault(error.args[0].str()) from error
        self.ends = {partition: high for partition, (_, high) in self._bounds.items()}

    def close(self) -> None:
        """Leave the topic."""
        self._consumer.close()

    def last(self, origin: str, symbol: str) -> Last | None:
        """Return the last message of a sequence, or None if the topic holds none."""
        while (origin, symbol) not in self._found and self._read_window():
            pass
        return self._found.get((origin, symbol))

    def foreign_marks(self, own: set[str]) -> set[str]:
        """Return marks near the end of the topic that are not `own`; empty text stands for none."""
        if not self._found:
            self._read_window()
        return {last.mark for (origin, _), last in self._found.items() if not origin} - own

    def _read_window(self) -> bool:
        read = False
        for partition, (low, high) in self._bounds.items():
            if low < high:
                start = max(low, high - self._window)
                self._read(partition, start, high)
                self._bounds[partition] = (low, start)
                read = True
        self._window *= 4
        return read

    def _read(self, partition: int, start: int, stop: int) -> None:
        found: dict[tuple[str, str], Last] = {}
        self._consumer.assign([TopicPartition(self._topic, partition, start)])
        while True:
            message = self._consumer.poll(_TIMEOUT)
            if message is None:
                place = self._consumer.position([TopicPartition(self._topic, partition)])[0].offset
                if place >= stop:
                    break
                raise self._fault(f"offset {place} of partition {partition} did not arrive")
            if message.error():
                raise self._fault(message.error().str())
            if message.offset() < stop:
                self._keep(message, found)
            if message.offset() >= stop - 1:
                break
        for key, last in found.items():
            self._found.setdefault(key, last)

    def _keep(self, message: Message, found: dict[tuple[str, str], Last]) -> None:
        headers: dict[str, Any] = dict(message.headers() or [])
        key = message.key()
        if key is None or "first-index" not in headers:
            return
        name = (headers.get("origin", b"").decode(), key.decode())
        ends = headers.get("content-type") == WATERMARK and b'"time":null' in (message.value() or b"")
        following = int(headers["first-index"]) + int(headers["count"])
        found[name] = Last(following, ends, headers.get("replay", b"").decode())

    def _fault(self, reason: str) -> FaultError:
        return FaultError(
            f"topic {self._topic} could not be read from Kafka at {self._bootstrap}: {reason}. "
            "`lit doctor` tells whether the broker runs."
        )
