"""The bars processor: tick blocks in, closed bars out, each bar once however often the process dies."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
import msgspec

from lit.features.bars import BarBuilder, Bars, BarState
from lit.features.intervals import Interval
from lit.processors.app import create_app, end_process, guarded, raw_topic
from lit.processors.delivery import GROUP_MESSAGES, GROUP_SECONDS, TransactionalPartition, at_offset, unseen
from lit.streams import topics
from lit.streams.codec import PoisonError, decode
from lit.streams.records import encode_json
from lit.streams.tick import TickBlock, Watermark

log = logging.getLogger(__name__)

#: Bars in one message at the most: a live bar goes alone, a backfill's go in arrays.
BARS_A_MESSAGE = 512


class AppliedState(msgspec.Struct):
    """A builder's state, and the input offset that it includes."""

    applied: int
    state: BarState


@dataclass
class BarSeries:
    """The bars of one symbol and interval in the making."""

    symbol: str
    interval: Interval
    builder: BarBuilder
    applied: int = -1
    closed: list[Bars] = field(default_factory=list)

    def take(self, offset: int, item: TickBlock | Watermark) -> None:
        """Apply what is new of an input message; repeats are skipped, gaps raise `SequenceError`."""
        if offset <= self.applied:
            return
        self.applied = offset
        fresh = unseen(item, self.builder.next_index, at_offset(offset))
        if fresh is None:
            return
        bars = self.builder.advance(fresh.timestamp) if isinstance(fresh, Watermark) else self.builder.update(fresh)
        if len(bars):
            self.closed.append(bars)

    def drain(self) -> Bars:
        """Return the bars closed since the last call."""
        bars, self.closed = Bars.concat(self.closed), []
        return bars


#: Topic, key, value, partition (none: the input's) and headers of a message to write.
Outgoing = tuple[str, bytes, bytes, int | None, list[tuple[str, bytes]]]


@dataclass
class Group:
    """Input events, and all that follows from them: one transaction."""

    events: list[Any]
    ticks: int
    messages: list[Outgoing] = field(default_factory=list)


class BarPartition:
    """One input partition: its series, and the transaction that its output goes into."""

    def __init__(self, config: BarsConfig, partition: int) -> None:
        self._config = config
        self._transaction = TransactionalPartition(
            config.bootstrap, config.owner_id, config.ticks_topic, partition, config.state_topic
        )
        self._series: dict[str, list[BarSeries]] = {}
        self._touched: dict[str, None] = {}
        self._dead: list[tuple[bytes, bytes, str]] = []
        self.events: list[Any] = []
        self.ticks = 0
        self.writing: asyncio.Task[None] | None = None
        self.opened = 0.0
        for key, value in self._transaction.read_state():
            self._restore(key.decode(), msgspec.json.decode(value, type=AppliedState))

    def _restore(self, key: str, state: AppliedState) -> None:
        symbol, _, name = key.rpartition("|")
        for series in self._of(symbol):
            if str(series.interval) == name:
                series.builder = BarBuilder(series.interval, state=state.state)
                series.applied = state.applied

    def _of(self, symbol: str) -> list[BarSeries]:
        if symbol not in self._series:
            self._series[symbol] = [
                BarSeries(symbol, interval, BarBuilder(interval)) for interval in self._config.intervals
            ]
        return self._series[symbol]

    def take(self, event: Any) -> None:
        """Apply a message; nothing is written before `commit`."""
        message = event.message
        self.opened = self.opened or time.monotonic()
        self.events.append(event)
        try:
            item = decode(message.key, message.value, message.headers)
        except PoisonError as error:
            log.error("offset %d goes to the dead letters: %s", message.offset, error)
            self._dead.append((message.key or b"", message.value or b"", str(error)))
            return
        self.ticks += len(item) if isinstance(item, TickBlock) else 0
        for series in self._of(item.symbol):
            series.take(message.offset, item)
        self._touched[item.symbol] = None

    @property
    def due(self) -> bool:
        """Whether the group is large or old enough to be committed."""
        return len(self.events) >= GROUP_MESSAGES or (
            bool(self.events) and time.monotonic() - self.opened >= GROUP_SECONDS
        )

    def close_group(self) -> Group:
        """Turn what was taken since the last call into messages; the next group may be taken at once."""
        group = Group(self.events, self.ticks)
        for symbol in self._touched:
            for series in self._of(symbol):
                group.messages += self._messages(series)
        for key, value, reason in self._dead:
            group.messages.append((self._config.dead_topic, key, value, 0, [("reason", reason.encode())]))
        self._touched.clear()
        self._dead.clear()
        self.events, self.ticks, self.opened = [], 0, 0.0
        return group

    def write(self, group: Group) -> None:
        """Write a group's bars and states in one transaction; groups are written in order, one at a time."""
        self._transaction.begin()
        for topic, key, value, partition, headers in group.messages:
            self._transaction.send(topic, key, value, partition, headers=headers)
        self._transaction.commit()

    def _messages(self, series: BarSeries) -> Iterator[Outgoing]:
        topic, key = self._config.bars_topic(series.interval), series.symbol.encode()
        records = list(series.drain().records(series.symbol, series.interval))
        for start in range(0, len(records), BARS_A_MESSAGE):
            part = records[start : start + BARS_A_MESSAGE]
            yield topic, key, encode_json(part if len(part) > 1 else part[0]), None, []
        state = AppliedState(series.applied, series.builder.state)
        name = f"{series.symbol}|{series.interval}".encode()
        yield self._config.state_topic, name, encode_json(state), None, []


@dataclass(frozen=True)
class BarsConfig:
    """What a bars worker needs to know; names of everything follow from it."""

    bootstrap: str
    team: str
    source: str
    intervals: tuple[Interval, ...]
    replication: int = 1

    @property
    def app_id(self) -> str:
        """Consumer group. Other intervals make another group, which reads from the start what is new to it."""
        digest = hashlib.sha256(",".join(map(str, sorted(self.intervals))).encode()).hexdigest()[:8]
        return f"{self.owner_id}.{digest}"

    @property
    def owner_id(self) -> str:
        """Begins the transactional id; the same for all sets of intervals, so that each fences the one before."""
        return f"lit.{self.team}.bars.{self.source}".replace(" ", "_")

    @property
    def ticks_topic(self) -> str:
        """The input."""
        return topics.ticks(self.team, self.source).name

    @property
    def state_topic(self) -> str:
        """Builders' states; shared by all sets of intervals."""
        return topics.state(self.team, "bars", self.source).name

    @property
    def dead_topic(self) -> str:
        """Where unreadable messages go."""
        return topics.dead_letters(self.team, self.source).name

    def bars_topic(self, interval: Interval) -> str:
        """The output of an interval."""
        return topics.bars(self.team, self.source, str(interval)).name

    def create_topics(self) -> None:
        """Create input, outputs, state and dead letters as far as they are missing."""
        wanted: Sequence[topics.Topic] = (
            topics.ticks(self.team, self.source),
            topics.state(self.team, "bars", self.source),
            topics.dead_letters(self.team, self.source),
            *(topics.bars(self.team, self.source, str(interval)) for interval in self.intervals),
        )
        topics.create_topics(self.bootstrap, *wanted, replication=self.replication)


def bars_app(config: BarsConfig, on_commit: Callable[[int], None] = lambda _ticks: None) -> faust.App:
    """Return the Faust app; one in-order agent, one transaction a partition and group of messages.

    Parameters
    ----------
    config
        Source, intervals, broker.
    on_commit
        Called after each transaction with the number of ticks that it was about.
    """
    app = create_app(config.app_id, config.bootstrap)
    partitions: dict[int, BarPartition] = {}
    lock = asyncio.Lock()

    async def write(partition: BarPartition, group: Group) -> None:
        try:
            await asyncio.to_thread(partition.write, group)
        except BaseException as error:
            end_process(error)
        on_commit(group.ticks)
        for event in group.events:
            event.ack()

    async def commit(partition: BarPartition) -> None:
        """Begin to write the group at hand, once the one before is written; meanwhile the next is taken."""
        if partition.writing is not None:
            await partition.writing
        partition.writing = asyncio.create_task(write(partition, partition.close_group()))

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            async with lock:
                number = event.message.partition
                if number not in partitions:
                    partitions[number] = await asyncio.to_thread(BarPartition, config, number)
                partitions[number].take(event)
                if partitions[number].due:
                    await commit(partitions[number])

    app.agent(raw_topic(app, config.ticks_topic), name="bars")(guarded(body))

    @app.task  # type: ignore[untyped-decorator]
    async def close_groups() -> None:
        try:
            while not app.should_stop:
                await asyncio.sleep(GROUP_SECONDS / 2)
                async with lock:
                    for partition in partitions.values():
                        if partition.due:
                            await commit(partition)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(error)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        async with lock:  # what was not committed is read again by whoever owns it next
            for partition in partitions.values():
                if partition.writing is not None:
                    await partition.writing
            partitions.clear()

    return app
