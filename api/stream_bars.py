"""Bars of intervals that nobody publishes, computed by the kernel from a stream's stored ticks, on request.

A stream's own intervals come from their topics, with every update; these grow as their ticks reach the store and are
read again. They are the bars that the topic would have: a watermark only tells earlier that one is closed. Who watches
one live goes on from the state that comes with them (`lit.api.live.computed`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from lit.features.bars import BarBuilder, BarState
from lit.features.intervals import Interval
from lit.streams.records import Bar
from lit.streams.store import Stores

#: Ticks that are read at a time; bars kept of each series; series kept, the one asked for longest ago goes first.
TICKS, BARS, SERIES = 500_000, 20_000, 64


@dataclass
class _Series:
    """One symbol and interval: the builder goes on where it stopped."""

    builder: BarBuilder
    bars: deque[Bar] = field(default_factory=lambda: deque(maxlen=BARS))
    lock: threading.Lock = field(default_factory=threading.Lock)


class StreamBars:
    """Series of all teams; any thread may ask."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._series: OrderedDict[tuple[str, str, str, str], _Series] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, team: str, stream: str, symbol: str, interval: Interval) -> tuple[list[Bar], BarState]:
        """Return the closed bars so far, oldest first, the newest 20,000 at the most; and where they stop."""
        key = team, stream, symbol, str(interval)
        with self._lock:
            series = self._series.setdefault(key, _Series(BarBuilder(interval)))
            self._series.move_to_end(key)
            if len(self._series) > SERIES:
                self._series.popitem(last=False)
        store = self._stores.team(team)
        with series.lock:
            while True:
                first = series.builder.next_index
                block = store.window(stream, symbol, first, first + TICKS)
                if not len(block) or block.first_index != first:  # no more, or the first are gone from the store
                    return list(series.bars), series.builder.state
                series.bars.extend(series.builder.update(block).records(symbol, interval))
