"""A replay as live would have been: files merged by market time, cut into short steps, and a clock to wait by."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event

import numpy as np
import pyarrow as pa

from lit.streams.errors import UserError
from lit.streams.tick import TickBlock, Watermark, from_iso

_MINUTE = 60_000_000_000
#: At most one block a symbol in this much wall time.
STEP_SECONDS = 0.05


@dataclass
class Pace:
    """How fast market time passes; its speed may change while it does.

    Parameters
    ----------
    speed
        Seconds of the market a second; 1 is as it was, 0 as fast as possible.
    start
        Ticks before this time (ns) go out at once: they warm up what follows.
    max_gap
        Seconds that a silence of the market takes at the most (nights, week-ends).
    """

    speed: float
    start: int = 0
    max_gap: float = 5.0

    @property
    def step(self) -> int:
        """Market time between two blocks, ns."""
        return max(1, int(self.speed * STEP_SECONDS * 1e9)) if self.speed else _MINUTE


#: Seconds of the market a second; 0 is as fast as possible.
FASTEST = 1_000_000


def checked_pace(speed: float, start: str | None = None, max_gap: float = 5.0) -> Pace:
    """Return a pace; `start` is ISO 8601 with zone.

    Raises
    ------
    UserError
        If a value cannot be.
    """
    if not 0 <= speed <= FASTEST or not max_gap > 0:
        raise UserError(f"speed {speed} of a replay must be from 0 to {FASTEST:,}, its max_gap {max_gap} above 0")
    try:
        return Pace(speed, from_iso(start) if start else 0, max_gap)
    except ValueError as error:
        raise UserError(f"start of a replay: {error}") from None


@dataclass(order=True)
class _Lane:
    """One file on its way: its next ticks and when they are due."""

    due: int
    number: int
    mark: str = field(compare=False)
    symbol: str = field(compare=False)
    batch: pa.RecordBatch = field(compare=False)
    rest: Iterator[tuple[str, str, pa.RecordBatch]] = field(compare=False)

    def take(self, until: int) -> tuple[pa.RecordBatch, bool]:
        """Split off the ticks before `until`; and whether the file goes on."""
        stamps = self.batch.column("timestamp").to_numpy()
        later = stamps >= until
        cut = int(np.argmax(later)) if later.any() else len(stamps)
        taken, self.batch = self.batch.slice(0, cut), self.batch.slice(cut)
        if self.batch.num_rows == 0:
            following = next(self.rest, None)
            if following is None:
                return taken, False
            self.mark, self.symbol, self.batch = following
        self.due = self.batch.column("timestamp")[0].as_py()
        return taken, True


def timeline(
    files: list[Iterator[tuple[str, str, pa.RecordBatch]]], pace: Pace, positions: dict[str, int]
) -> Iterator[tuple[str, TickBlock | Watermark, int]]:
    """Yield (mark, item, due) in market time; `due` in ns.

    Parameters
    ----------
    files
        For each file its (mark, symbol, batch) in order.
    positions
        Symbol → index of its next tick; kept up to date.

    Notes
    -----
    From the pace's start on, a watermark follows each minute in which a symbol traded, as soon as it is over, so that
    bars close in a quiet market too. A file's symbols are as much in step as its reader's chunks are.
    """
    lanes: list[_Lane] = []
    for number, rest in enumerate(files):
        if head := next(rest, None):
            mark, symbol, batch = head
            lanes.append(_Lane(batch.column("timestamp")[0].as_py(), number, mark, symbol, batch, rest))
    heapq.heapify(lanes)
    open_minutes: dict[str, tuple[int, str]] = {}
    while lanes:
        yield from _over(open_minutes, lanes[0].due, positions)
        lane = heapq.heappop(lanes)
        until = pace.start if lane.due < pace.start else (lane.due // pace.step + 1) * pace.step
        mark, symbol = lane.mark, lane.symbol
        taken, goes_on = lane.take(until)
        if taken.num_rows == 0:  # its clock jumped back: what is late goes out now
            taken, goes_on = lane.take(lane.due + 1)
        first = positions.get(symbol, 0)
        positions[symbol] = first + taken.num_rows
        block = TickBlock(symbol, first, taken)
        last = int(block.timestamp[-1])
        yield mark, block, last
        if last >= pace.start:
            open_minutes[symbol] = ((last // _MINUTE + 1) * _MINUTE, mark)
        if goes_on:
            heapq.heappush(lanes, lane)
    yield from _over(open_minutes, np.iinfo(np.int64).max, positions)


def _over(
    open_minutes: dict[str, tuple[int, str]], now: int, positions: dict[str, int]
) -> Iterator[tuple[str, Watermark, int]]:
    for symbol, (end, mark) in sorted(open_minutes.items(), key=lambda entry: entry[1][0]):
        if end <= now:
            del open_minutes[symbol]
            yield mark, Watermark(symbol, end, positions[symbol]), end


class Clock:
    """Knows when a market time has come, and waits for it."""

    def __init__(self, pace: Pace, stop: Event | None = None) -> None:
        self._pace = pace
        self._stop = stop or Event()
        self._market: int | None = None
        self._wall = 0.0

    def wait(self, due: int) -> None:
        """Wait until `due` (ns of the market), or until stopped."""
        left = self.left(due)
        if left > 0:
            self._stop.wait(left)

    def pause(self, seconds: float) -> None:
        """Take note that no market time passed for so long."""
        self._wall += seconds

    def left(self, due: int) -> float:
        """Return how long to wait until `due` (ns of the market); market times are asked for in order, each once."""
        if due < self._pace.start or not self._pace.speed:
            return 0.0
        now = time.monotonic()
        if self._market is None:
            self._market, self._wall = due, now
        target = self._wall + (due - self._market) / 1e9 / self._pace.speed
        if target - now > self._pace.max_gap:
            target = now + self._pace.max_gap
        self._market, self._wall = due, max(target, now - 1.0)  # after a stall, catch up by a second at the most
        return target - now
