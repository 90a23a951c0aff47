"""One partition of the bars processor: builders, closed bars, and the transactions that they and their states go into.

Each bar is published once, however often the process dies: bars and the states that count them are one transaction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lit.features.bars import BarBuilder, Bars, BarState
from lit.features.intervals import Interval
from lit.processors.bars_config import BarsConfig
from lit.processors.delivery import TransactionalPartition, at_offset, unseen, with_gap
from lit.streams.codec import PoisonError, decode
from lit.streams.records import encode_json
from lit.streams.tick import TickBlock, Watermark

log = logging.getLogger(__name__)

#: Bars in one message at the most: a live bar goes alone, a backfill's go in arrays.
BARS_A_MESSAGE = 512
#: All states are written after so many messages or ticks, after so long, or after so long without a message. What
#: they lack is computed again by a successor, as input is acknowledged with them alone.
GROUP_MESSAGES, GROUP_TICKS = 2048, 64 * 8192
GROUP_SECONDS, QUIET_SECONDS = 2.0, 0.1
#: Closed bars wait so long for others: a hundred symbols' close within a few moments, and each transaction costs the
#: broker several writes. It took up to a third off what predictions wait for, whose transactions are under way then.
CLOSED_SECONDS = 0.05


class AppliedState(msgspec.Struct):
    """A builder's state.

    Parameters
    ----------
    applied
        The input offset that it includes.
    complete
        The input offset that all states of the partition included, whatever their own, when all were written last.
    gaps
        First ticks after the latest holes of the feed.
    """

    applied: int
    state: BarState
    complete: int = -1
    gaps: list[int] = []


@dataclass
class BarSeries:
    """The bars of one symbol and interval in the making."""

    symbol: str
    interval: Interval
    builder: BarBuilder
    applied: int = -1
    closed: list[Bars] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)

    def take(self, offset: int, item: TickBlock | Watermark) -> None:
        """Apply what is new of an input message; repeats are skipped, gaps raise `SequenceError`."""
        if offset <= self.applied:
            return
        self.applied = offset
        self.gaps = with_gap(self.gaps, item)
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
    """One transaction: closed bars with their series' states; with `events`, all states, and these are over."""

    messages: list[Outgoing]
    ticks: int
    events: list[Any] = field(default_factory=list)


class BarPartition:
    """One input partition: its series, and the transaction that its output goes into."""

    def __init__(self, config: BarsConfig, partition: int) -> None:
        self._config = config
        self._transaction = TransactionalPartition(
            config.bootstrap, config.owner_id, config.ticks_topic, partition, config.state_topic
        )
        self._series: dict[str, list[BarSeries]] = {}
        self._touched: dict[str, None] = {}
        self._closed: dict[str, float] = {}  # since when bars of a symbol wait, the longest waiting first
        self._dead: list[tuple[bytes, bytes, str]] = []
        self._events: list[Any] = []
        self._messages_taken = self._ticks = self._told = 0
        self._opened = self._latest = 0.0
        self._offset = -1
        complete = dict.fromkeys(map(str, config.intervals), -1)
        self.writing: asyncio.Task[None] | None = None
        self.number = partition
        for key, value in self._transaction.read_state():
            symbol, _, name = key.decode().rpartition("|")
            state = msgspec.json.decode(value, type=AppliedState)
            self._restore(symbol, name, state)
            complete[name] = max(complete.get(name, -1), state.complete)
        #: Each interval may have been left at another place: it is true of all only up to the first.
        self._complete = min(complete[str(interval)] for interval in config.intervals)
        self._told_dead = max(complete.values())

    def _restore(self, symbol: str, name: str, state: AppliedState) -> None:
        for series in self._of(symbol):
            if str(series.interval) == name:
                series.builder = BarBuilder(series.interval, state=state.state)
                series.applied, series.gaps = state.applied, state.gaps

    def _of(self, symbol: str) -> list[BarSeries]:
        if symbol not in self._series:
            self._series[symbol] = [
                BarSeries(symbol, interval, BarBuilder(interval)) for interval in self._config.intervals
            ]
        return self._series[symbol]

    def take(self, message: Any) -> None:
        """Apply a message; nothing is written before `commit`."""
        self._latest = time.monotonic()
        self._opened = self._opened or self._latest
        self._messages_taken += 1
        self._offset = max(self._offset, message.offset)
        try:
            item = decode(message.key, message.value, message.headers)
        except PoisonError as error:
            if message.offset > self._told_dead:
                log.error("offset %d goes to the dead letters: %s", message.offset, error)
                self._dead.append((message.key or b"", message.value or b"", str(error)))
            return
        self._ticks += len(item) if isinstance(item, TickBlock) else 0
        for series in self._of(item.symbol):
            series.take(message.offset, item)
            if series.closed:
                self._closed.setdefault(item.symbol, self._latest)
        self._touched[item.symbol] = None

    def taken(self, event: Any) -> None:
        """Remember an event whose messages were all taken: it is over once all states are written."""
        self._opened = self._opened or time.monotonic()  # its last message may have closed a group
        self._events.append(event)

    @property
    def idle(self) -> bool:
        """Whether nothing is being written."""
        return self.writing is None or self.writing.done()

    @property
    def full(self) -> bool:
        """Whether so much was taken that all states must be written before more is."""
        return self._messages_taken >= GROUP_MESSAGES or self._ticks - self._told >= GROUP_TICKS

    @property
    def states_due(self) -> bool:
        """Whether all states should be written now."""
        if not self._opened:
            return False
        now = time.monotonic()
        return self.full or now - self._opened >= GROUP_SECONDS or now - self._latest >= QUIET_SECONDS

    @property
    def due(self) -> bool:
        """Whether bars have waited long enough to be written, or all states should be."""
        since = next(iter(self._closed.values()), None)
        waited = since is not None and time.monotonic() - since >= CLOSED_SECONDS
        return waited or self.states_due

    def close_group(self) -> Group:
        """Turn what is due into messages; the next group may be taken at once."""
        everything = self.states_due
        group = Group([], self._ticks - self._told)
        self._told = self._ticks
        if everything:
            self._complete = max(self._complete, self._offset)
        for symbol in self._touched if everything else self._closed:
            for series in self._of(symbol):
                group.messages += self._messages(series)
        self._closed.clear()
        if everything:
            # a poisonous message is told once: with the states, after which it is not read again
            for key, value, reason in self._dead:
                group.messages.append((self._config.dead_topic, key, value, 0, [("reason", reason.encode())]))
            group.events, self._events = self._events, []
            self._touched.clear()
            self._dead.clear()
            self._messages_taken, self._ticks, self._told, self._opened = 0, 0, 0, 0.0
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
        state = AppliedState(series.applied, series.builder.state, self._complete, series.gaps)
        name = f"{series.symbol}|{series.interval}".encode()
        yield self._config.state_topic, name, encode_json(state), None, []
