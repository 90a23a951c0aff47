"""The open bar of each symbol, computed by the same kernel that closes bars. Pure: bars and ticks in, rows out."""

from __future__ import annotations

import logging

import msgspec
import numpy as np

from lit.features.bars import BarBuilder, BarState
from lit.features.intervals import Interval, TimeGrid
from lit.processors.delivery import SequenceError, unseen
from lit.streams.records import Bar
from lit.streams.tick import TickBlock, Watermark, from_iso, iso

log = logging.getLogger(__name__)

#: (interval, symbol)
Key = tuple[str, str]


class Forming(msgspec.Struct, frozen=True):
    """An open bar: what a `Bar` has, of the bar to be, and the time of its last tick."""

    symbol: str
    interval: str
    start: str
    end: str
    open: float
    high: float
    low: float
    close: float
    trades: float
    volume: float
    mean_trade_size: float
    max_trade_size: float
    first_index: int
    last_index: int
    ordinal: int
    last_timestamp: str


class FormingBars:
    """Builders that go on where closed bars end.

    Ticks may come from anywhere at or before the last bar's: repeats are skipped. Bars may come before or after the
    ticks that close them.
    """

    def __init__(self) -> None:
        self._builders: dict[Key, BarBuilder] = {}
        self._intervals: dict[str, Interval] = {}

    def add(self, interval: str) -> None:
        """Follow an interval; its closed bars come first."""
        self._intervals[interval] = Interval.parse(interval)

    def closed(self, bar: Bar) -> None:
        """Take a closed bar: the open one begins after it at the earliest."""
        key = bar.interval, bar.symbol
        builder = self._builders.get(key)
        if builder is None or builder.next_index <= bar.last_index:
            self._builders[key] = builder_after(bar, self._intervals[bar.interval])

    def take(self, item: TickBlock | Watermark) -> tuple[set[Key], bool]:
        """Take the next message of ticks.

        Returns
        -------
        changed
            Keys whose open bar changed.
        gap
            Whether a builder that follows closed bars misses ticks: read again from its last bar.
        """
        changed: set[Key] = set()
        gap = False
        for name, interval in self._intervals.items():
            key = name, item.symbol
            builder = self._builders.get(key)
            if builder is None:
                if item.first_index if isinstance(item, TickBlock) else item.next_index:
                    continue  # its beginning is not known; its first closed bar will tell where to go on
                builder = self._builders[key] = BarBuilder(interval)
            try:
                fresh = unseen(item, builder.next_index, "in the topic")
            except SequenceError:
                gap = True
                continue
            if isinstance(fresh, TickBlock):
                builder.update(fresh)
                changed.add(key)
            elif fresh is not None and len(builder.advance(fresh.timestamp)):
                changed.add(key)
        return changed, gap

    def row(self, key: Key) -> Forming | None:
        """Return the open bar, or None if none is open."""
        return forming_row(key, self._builders[key])


def forming_row(key: Key, builder: BarBuilder) -> Forming | None:
    """Return a builder's open bar, or None if none is open."""
    rows = builder.forming()
    if not len(rows):
        return None
    bar = next(iter(rows.records(key[1], key[0])))
    return Forming(**msgspec.structs.asdict(bar), last_timestamp=iso(builder.state.ints[1]))


def builder_after(bar: Bar, interval: Interval) -> BarBuilder:
    """Return a builder that goes on after a closed bar."""
    if interval.by_time:
        floor = int(TimeGrid(interval).cells(np.array([from_iso(bar.start)], np.int64))[0]) + 1
    else:
        floor = from_iso(bar.end)
    state = BarState(next_index=bar.last_index + 1, ordinal=bar.ordinal + 1, floor=floor)
    return BarBuilder(interval, state=state)
