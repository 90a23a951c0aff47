"""One symbol of a stream as a deployment sees it: ticks in, each once; windows kept, closed bars out."""

from __future__ import annotations

from collections.abc import Iterable

from lit.features.bars import NO_BARS, Bars
from lit.features.intervals import Interval
from lit.features.window import SymbolWindow
from lit.processors.delivery import at_offset, unseen, with_gap
from lit.serving.recorded import Begin, SymbolState
from lit.streams.tick import TickBlock, Watermark

#: Windows let old ticks and bars go after so many messages.
_TRIM = 4096


class SymbolFeed:
    """Feeds a symbol's windows, which may begin at different places.

    Parameters
    ----------
    interval
        Whose closed bars are told.
    intervals
        All that features read, `interval` among them.
    keep_ticks
        Whether features read ticks.
    """

    def __init__(self, symbol: str, interval: Interval, intervals: Iterable[Interval], keep_ticks: bool) -> None:
        self.window = SymbolWindow(symbol, intervals, keep_ticks=keep_ticks)
        self._interval = interval
        self._applied = dict.fromkeys(intervals, -1)
        #: First ticks after the latest holes in the feed, ascending.
        self.gaps: list[int] = []
        self._kept_to = -1
        self._messages = 0

    def restore(self, interval: Interval, begin: Begin) -> None:
        """Begin an interval's window at a recorded place."""
        self.window.bars_of(interval).restore(begin.bars, begin.state)
        self._applied[interval] = begin.applied
        self.gaps = sorted({*self.gaps, *begin.gaps})

    @property
    def state(self) -> SymbolState:
        """What to go on from."""
        return SymbolState(
            min(self._applied.values()),
            {str(interval): self.window.bars_of(interval).state for interval in self._applied},
            self.gaps,
        )

    def reaches_over_gap(self, oldest: int, index: int) -> bool:
        """Whether ticks `oldest`…`index` have a hole of the feed between them."""
        return any(oldest < after <= index for after in self.gaps)

    def take(self, offset: int, item: TickBlock | Watermark) -> tuple[Bars, bool]:
        """Take the message at an offset; what is known is skipped.

        Returns
        -------
        closed
            Bars of the deployment's interval.
        any_closed
            Whether a bar of any interval closed.

        Raises
        ------
        SequenceError
            If ticks before it are missing.
        """
        self.gaps = with_gap(self.gaps, item)
        closed, any_closed = NO_BARS, False
        for interval, applied in self._applied.items():
            if offset <= applied:
                continue
            self._applied[interval] = offset
            window = self.window.bars_of(interval)
            fresh = unseen(item, window.next_index, at_offset(offset))
            if fresh is None:
                continue
            bars = window.feed(fresh)
            any_closed |= len(bars) > 0
            if interval == self._interval:
                closed = bars
        if offset > self._kept_to and (fresh := self._unkept(item)) is not None:
            self.window.keep(fresh)
        self._kept_to = max(offset, self._kept_to)
        self._messages += 1
        if self._messages % _TRIM == 0:
            self.window.trim(self.window.next_index)
        return closed, any_closed

    def _unkept(self, item: TickBlock | Watermark) -> TickBlock | Watermark | None:
        """Return what is new of a message for who reads ticks; the first may begin anywhere."""
        first = item.first_index if isinstance(item, TickBlock) else item.next_index
        if self._kept_to < 0 or first >= self.window.next_index:
            return item
        return item.slice(self.window.next_index - first) if isinstance(item, TickBlock) else None
