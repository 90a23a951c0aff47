"""The latest state of each symbol of a stream: its windows as a deployment has them, for who asks to predict now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from lit.features.intervals import Interval
from lit.features.window import NeedMoreData
from lit.processors.delivery import read_messages
from lit.serving.feed import SymbolFeed
from lit.serving.predictions import Inputs, Model, inputs_of
from lit.serving.recorded import Source, read_recorded
from lit.streams import topics
from lit.streams.clients import consumer
from lit.streams.codec import PoisonError, decode
from lit.streams.errors import FaultError, UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Latest:
    """A symbol's newest closed bar: the tick that models predict at, and the bar's start (ns)."""

    index: int
    start: int


class LatestStates:
    """Follows a stream in a thread of its own.

    Parameters
    ----------
    bootstrap, team, stream
        What to follow.
    interval
        The one at whose closed bars models predict.
    intervals
        All that their features read.
    ticks
        Whether they read ticks.
    """

    def __init__(
        self, bootstrap: str, team: str, stream: str, interval: Interval, intervals: Iterable[Interval], ticks: bool
    ) -> None:
        self.stream, self._team, self._bootstrap = stream, team, bootstrap
        self._interval, self._intervals, self._ticks = interval, sorted({interval, *intervals}), ticks
        self._feeds: dict[str, SymbolFeed] = {}
        self._latest: dict[str, Latest] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.ready = threading.Event()
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"latest {stream}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(15.0)

    @property
    def symbols(self) -> list[str]:
        """Symbols that have a closed bar."""
        with self._lock:
            return sorted(self._latest)

    def inputs(self, model: Model, symbol: str) -> tuple[Inputs, Latest]:
        """Return a model's inputs at a symbol's newest closed bar.

        Raises
        ------
        UserError
            If the symbol has none, or its history is too short for the model's features.
        """
        with self._lock:
            latest, feed = self._latest.get(symbol), self._feeds.get(symbol)
            if latest is None or feed is None:
                known = ", ".join(sorted(self._latest)[:10]) or "none yet"
                raise UserError(f"stream {self.stream!r} has no closed bar of symbol {symbol!r} (it has: {known})")
            try:
                found = inputs_of(model, feed.window, latest.index)
            except NeedMoreData:
                found = None
        if found is None:
            raise UserError(f"{symbol}: the features of {model.name!r} reject this moment, or lack history for it")
        return found, latest

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._follow()
            except Exception as error:
                self.problem = f"source {self.stream!r}: {error}"
                log.error("the stream %s is read anew: %s", self.stream, error)
                self._end.wait(2.0)

    def _follow(self) -> None:
        topic = topics.ticks(self._team, self.stream).name
        reader: Any = consumer(self._bootstrap, "lit-latest", **{"log_level": 0})
        try:
            found = reader.list_topics(timeout=10.0).topics
            if topic not in found:
                raise FaultError(f"there is no topic {topic} yet")
            with self._lock:
                self._feeds.clear()
                self._latest.clear()
            places = [TopicPartition(topic, number, self._open(number)) for number in sorted(found[topic].partitions)]
            reader.assign(places)
            self.problem = None
            self.ready.set()
            while not self._end.is_set():
                for message in reader.consume(500, 0.1):
                    if message.error() is not None:
                        raise FaultError(message.error().str())
                    self._take(message)
        finally:
            reader.close()

    def _open(self, partition: int) -> int:
        """Fill the windows of a partition from what is recorded; return the offset from which to read on."""
        source = Source(self._bootstrap, self._team, self.stream, partition)
        end = source.end()
        recorded = read_recorded(source, {}, None, self._interval, self._intervals)
        with self._lock:
            for (symbol, interval), begin in recorded.begins.items():
                self._of(symbol).restore(interval, begin)
                if interval == self._interval and len(begin.bars):
                    self._latest[symbol] = Latest(int(begin.bars.last_index[-1]), int(begin.bars.start[-1]))
        start = min(recorded.start, end)
        if self._ticks:
            start = min(start, source.back_for_ticks(end))
        for message in read_messages(self._bootstrap, source.ticks_topic, partition, start):
            self._take(message)
            start = int(message.offset() or 0) + 1
        return start

    def _of(self, symbol: str) -> SymbolFeed:
        if symbol not in self._feeds:
            self._feeds[symbol] = SymbolFeed(symbol, self._interval, self._intervals, self._ticks)
        return self._feeds[symbol]

    def _take(self, message: Any) -> None:
        try:
            item = decode(message.key(), message.value(), message.headers())
        except PoisonError:
            return  # the bars processor has put it into the dead letters
        if item.origin:
            return
        with self._lock:
            closed, _ = self._of(item.symbol).take(int(message.offset()), item)
            if len(closed):
                self._latest[item.symbol] = Latest(int(closed.last_index[-1]), int(closed.start[-1]))
