"""Bars that no worker publishes, computed in the server from the ticks that its reader reads anyway. Pure.

A series begins where the bars of stored ticks end (`lit.api.stream_bars`), so history and live are one sequence of the
one kernel: ticks at or before its last are skipped, and a missing tick is a gap to be read again.
"""

from __future__ import annotations

from lit.api.live.forming import Forming, Key, forming_row
from lit.features.bars import BarBuilder, BarState
from lit.features.intervals import Interval
from lit.processors.delivery import SequenceError, unseen
from lit.streams.records import Bar
from lit.streams.tick import TickBlock, Watermark


class ComputedBars:
    """Builders by interval and symbol; closed bars come out of them."""

    def __init__(self) -> None:
        self._builders: dict[Key, BarBuilder] = {}
        self._missing: dict[Key, int] = {}

    def add(self, key: Key, state: BarState) -> None:
        """Compute a series from where an earlier builder stopped."""
        self._builders[key] = BarBuilder(Interval.parse(key[0]), state=state)

    def drop(self, key: Key) -> None:
        """Compute it no more."""
        self._builders.pop(key, None)
        self._missing.pop(key, None)

    def take(self, item: TickBlock | Watermark) -> tuple[list[Bar], set[Key], bool]:
        """Take the next message of ticks.

        Returns
        -------
        bars
            Those that it closed.
        changed
            Keys whose open bar changed.
        gap
            Whether a series misses ticks: read again from `since`. The same hole is told once: what is not in the topic
            then will not come.
        """
        bars: list[Bar] = []
        changed: set[Key] = set()
        gap = False
        for key, builder in self._builders.items():
            if key[1] != item.symbol:
                continue
            try:
                fresh = unseen(item, builder.next_index, "in the topic")
            except SequenceError:
                gap |= self._missing.get(key) != builder.next_index
                self._missing[key] = builder.next_index
                continue
            if fresh is None:
                continue
            closed = builder.advance(fresh.timestamp) if isinstance(fresh, Watermark) else builder.update(fresh)
            if len(closed) or isinstance(fresh, TickBlock):
                bars += closed.records(key[1], key[0])
                changed.add(key)
        return bars, changed, gap

    def since(self) -> list[int]:
        """Return the time (ns) from which each series needs ticks; 0 where it has none yet."""
        states = [builder.state for builder in self._builders.values()]
        return [state.ints[1] if state.next_index else 0 for state in states]

    def __contains__(self, key: Key) -> bool:
        return key in self._builders

    def row(self, key: Key) -> Forming | None:
        """Return the open bar, or None if none is open."""
        return forming_row(key, self._builders[key])
