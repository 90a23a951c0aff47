"""The thread that reads a stream's topics and hands what it read to the event loop, batch by batch.

Partitions are assigned by hand: no group, no rebalance, nothing committed. Bars, predictions and scores are read from
their beginning; ticks from the start of the oldest last bar, which is where open bars can begin, or from where the bars
of an interval that nobody publishes have come to.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from lit.api.live.computed import ComputedBars
from lit.api.live.forming import Forming, FormingBars, Key
from lit.features.bars import BarState
from lit.streams import topics
from lit.streams.clients import consumer
from lit.streams.codec import PoisonError, decode
from lit.streams.dedup import Dedup
from lit.streams.live_health import GapView, gap_view
from lit.streams.records import Bar, Prediction, Score, decode_bars
from lit.streams.tick import Watermark, from_iso

log = logging.getLogger(__name__)

#: What is read: ("ticks",), ("bars", interval), ("predictions", deployment), ("scores", deployment); or computed:
#: ("computed", interval, symbol).
Kind = tuple[str, ...]
TICKS: Kind = ("ticks",)
_MESSAGES, _WAIT_SECONDS, _CALL_SECONDS = 500, 0.05, 10.0
#: After a gap, ticks are read again from the last bars, but not more often than this.
_REWIND_SECONDS = 2.0
_LAG_SECONDS = 2.0


@dataclass(frozen=True)
class Computed:
    """A series to compute: its bars so far, and where they stop."""

    key: Key
    bars: list[Bar]
    state: BarState

    @property
    def kind(self) -> Kind:
        """What is read for it."""
        return "computed", *self.key


@dataclass
class Batch:
    """What was read at once. `ready`: kinds read to their end for the first time; `begun`: series and their history."""

    begun: list[Computed] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    gaps: list[GapView] = field(default_factory=list)
    forming: dict[Key, Forming | None] = field(default_factory=dict)
    ready: list[Kind] = field(default_factory=list)
    lag: int | None = None


class StreamReader:
    """Reads one stream.

    Parameters
    ----------
    bootstrap, team, stream
        What to read.
    deliver
        Takes each batch; called in this thread.
    failed
        Called in this thread when it ends by an error.
    """

    def __init__(
        self,
        bootstrap: str,
        team: str,
        stream: str,
        deliver: Callable[[Batch], None],
        failed: Callable[[], None],
    ) -> None:
        self._team, self._stream = team, stream
        self._deliver, self._failed = deliver, failed
        self._wanted: queue.SimpleQueue[Kind | Computed] = queue.SimpleQueue()
        self._unwanted: queue.SimpleQueue[Key] = queue.SimpleQueue()
        self._end = threading.Event()
        group = f"lit.{team}.live.{stream}".replace(" ", "_")
        self._consumer: Any = consumer(bootstrap, group, **{"enable.partition.eof": True, "fetch.wait.max.ms": 20})
        self._kinds: dict[str, Kind] = {}
        self._unread: dict[Kind, set[int]] = {}
        self._dedup = Dedup()
        self._forming = FormingBars()
        self._computed = ComputedBars()
        self._begun: list[Kind] = []
        self._starts: dict[int, dict[Key, int]] = {}
        self._rewind_at: float | None = None
        self._lag_at = 0.0
        self._thread = threading.Thread(target=self._run, name=f"live {team}/{stream}", daemon=True)
        self._thread.start()

    def add(self, kind: Kind | Computed) -> None:
        """Read a topic too, or compute a series; topics must exist. Ticks come with the first interval."""
        self._wanted.put(kind)

    def drop(self, key: Key) -> None:
        """Compute a series no more."""
        self._unwanted.put(key)

    def stop(self) -> None:
        """End; may be called from any thread."""
        self._end.set()

    def join(self) -> None:
        """Wait for the end."""
        self._thread.join(_CALL_SECONDS)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                try:
                    self._round()
                except KafkaException as error:
                    log.warning("live %s/%s: %s", self._team, self._stream, error.args[0].str())
                    self._end.wait(1.0)
        except Exception:
            log.exception("live %s/%s ends", self._team, self._stream)
            self._failed()
        finally:
            self._consumer.close()

    def _round(self) -> None:
        while not self._unwanted.empty():  # before what is wanted: a series that is asked for again begins anew
            self._computed.drop(self._unwanted.get())
        while not self._wanted.empty():
            wanted = self._wanted.get()
            if isinstance(wanted, Computed):
                self._begin(wanted)
                continue
            try:
                self._assign(wanted)
            except KafkaException:
                self._wanted.put(wanted)
                raise
        if self._rewind_at is not None and time.monotonic() >= self._rewind_at:
            self._position_ticks()
            self._rewind_at = None
        if not self._kinds:
            self._end.wait(_WAIT_SECONDS)
            return
        batch, changed = Batch(), set[Key]()
        for message in self._consumer.consume(_MESSAGES, _WAIT_SECONDS):
            self._take(message, batch, changed)
        for key in changed:
            batch.forming[key] = (self._computed if key in self._computed else self._forming).row(key)
        if time.monotonic() >= self._lag_at:
            self._lag_at = time.monotonic() + _LAG_SECONDS
            batch.lag = self._lag()
        if batch != Batch():
            self._deliver(batch)

    def _begin(self, series: Computed) -> None:
        self._computed.add(series.key, series.state)
        self._begun.append(series.kind)
        self._deliver(Batch(begun=[series], forming={series.key: self._computed.row(series.key)}))
        self._rewind_at = 0.0

    def _assign(self, kind: Kind) -> None:
        topic = self._topic(kind)
        if topic in self._kinds:
            return
        numbers = list(self._consumer.list_topics(topic, _CALL_SECONDS).topics[topic].partitions)
        if not numbers:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"{topic} is not there yet"))
        if kind[0] == "bars":
            self._forming.add(kind[1])
        self._consumer.incremental_assign([TopicPartition(topic, number, 0) for number in numbers])
        self._kinds[topic] = kind
        self._unread[kind] = set(numbers)

    def _topic(self, kind: Kind) -> str:
        match kind:
            case ("bars", interval):
                return topics.bars(self._team, self._stream, interval).name
            case ("predictions", deployment):
                return topics.predictions(self._team, deployment).name
            case ("scores", deployment):
                return topics.scores(self._team, deployment).name
        return topics.ticks(self._team, self._stream).name

    def _take(self, message: Message, batch: Batch, changed: set[Key]) -> None:
        kind = self._kinds.get(str(message.topic()))
        if kind is None:
            return
        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                self._at_end(kind, int(message.partition() or 0), batch)
            else:
                log.warning("live %s/%s: %s", self._team, self._stream, error.str())
            return
        try:
            self._read(kind, message, batch, changed)
        except (PoisonError, msgspec.MsgspecError) as problem:
            log.error("%s offset %s is skipped: %s", message.topic(), message.offset(), problem)

    def _read(self, kind: Kind, message: Message, batch: Batch, changed: set[Key]) -> None:
        value: Any = message.value()
        if kind == TICKS:
            item = decode(message.key(), value, message.headers())
            if item.origin == "":
                if isinstance(item, Watermark) and item.gap is not None:
                    batch.gaps.append(gap_view(item.symbol, item.next_index, item.gap))
                keys, gap = self._forming.take(item)
                bars, others, hole = self._computed.take(item)
                batch.bars += bars
                changed |= keys | others
                if (gap or hole) and self._rewind_at is None:
                    self._rewind_at = time.monotonic() + _REWIND_SECONDS
        elif kind[0] == "bars":
            starts = self._starts.setdefault(int(message.partition() or 0), {})
            for bar in self._dedup.fresh(decode_bars(value)):
                batch.bars.append(bar)
                self._forming.closed(bar)
                starts[bar.interval, bar.symbol] = from_iso(bar.start)
                changed.discard((bar.interval, bar.symbol))
                changed.add((bar.interval, bar.symbol))
        elif kind[0] == "predictions":
            batch.predictions += self._dedup.fresh([msgspec.json.decode(value, type=Prediction)])
        else:
            batch.scores += self._dedup.fresh([msgspec.json.decode(value, type=Score)])

    def _at_end(self, kind: Kind, partition: int, batch: Batch) -> None:
        unread = self._unread.get(kind)
        if not unread:
            return
        unread.discard(partition)
        if not unread:
            del self._unread[kind]
            batch.ready += self._begun if kind == TICKS else [kind]
            if kind == TICKS:
                self._begun = []
            if kind[0] == "bars":
                self._rewind_at = time.monotonic()

    def _position_ticks(self) -> None:
        """Read ticks from where a partition's first open bar begins; where bars are to come, from the beginning."""
        topic = self._topic(TICKS)
        numbers = list(self._consumer.list_topics(topic, _CALL_SECONDS).topics[topic].partitions)
        places = []
        published = any(kind[0] == "bars" for kind in self._kinds.values())
        for number in numbers:
            starts = [*self._starts.get(number, {}).values()] or ([0] if published else [])
            begin = min(starts + self._computed.since(), default=0)
            place = TopicPartition(topic, number, 0)
            if begin:
                asked = TopicPartition(topic, number, begin // 1_000_000)
                place.offset = self._consumer.offsets_for_times([asked], _CALL_SECONDS)[0].offset
                if place.offset < 0:
                    place.offset = self._consumer.get_watermark_offsets(asked, _CALL_SECONDS)[1]
            places.append(place)
        if topic in self._kinds:
            self._consumer.incremental_unassign([TopicPartition(topic, number) for number in numbers])
        self._consumer.incremental_assign(places)
        self._kinds[topic] = TICKS
        if self._begun:
            self._unread[TICKS] = set(numbers)

    def _lag(self) -> int:
        lag = 0
        for place in self._consumer.position(self._consumer.assignment()):
            if place.offset >= 0:
                _, high = self._consumer.get_watermark_offsets(place, cached=True)
                lag += max(0, high - place.offset)
        return lag
