"""The clock of a live feed: when the bars of a quiet market are over. Pure; times are handed in.

A feed's time is known by its ticks alone: the newest tick says how far the feed is behind the wall clock (a delayed
feed by 15 minutes, say), and time passes from there. It never runs ahead of the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MINUTE = 60_000_000_000
SECOND = 1_000_000_000


@dataclass
class FeedClock:
    """Says which watermarks are due.

    Parameters
    ----------
    step
        Watermarks come at multiples of this (ns): the shortest time unit that bars are made of.
    grace
        How long a tick may be under way (ns).
    behind
        How far the feed's time is behind the wall clock (ns); None: no tick yet.
    """

    step: int = MINUTE
    grace: int = SECOND
    behind: int | None = None
    _open: dict[str, int] = field(default_factory=dict)

    def saw(self, symbol: str, timestamp: int, wall: int, floor: int) -> None:
        """Take note of a tick at market time `timestamp` that came at wall time `wall` (ns)."""
        late_by = max(0, wall - timestamp)
        if self.behind is None or late_by < self.behind:
            self.behind = late_by
        self.resume(symbol, timestamp, floor)

    def resume(self, symbol: str, timestamp: int, floor: int) -> None:
        """Take note that a symbol's last tick was at `timestamp` and its last watermark at `floor` (ns)."""
        end = (timestamp // self.step + 1) * self.step
        if end > floor:
            self._open[symbol] = max(end, self._open.get(symbol, end))

    def due(self, wall: int) -> Iterator[tuple[str, int]]:
        """Yield (symbol, time) of the watermarks that are due at a wall time; each once."""
        if self.behind is None:
            return
        now = wall - self.behind - self.grace
        for symbol in [symbol for symbol, end in self._open.items() if end <= now]:
            yield symbol, self._open.pop(symbol)
