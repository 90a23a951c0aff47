"""Bars of one symbol and interval over stored ticks, for any index, byte-equal to one pass of the kernel.

The kernel's sums run in tick order, so a bar is computed from its own ticks and from no other bars. For each chunk of
ticks, the bars that begin in it are computed once and kept; a request walks as many chunks as it needs.

- Second and minute bars need no past: what the kernel knows at a chunk's first tick is the cell of the latest time
  before it, which the store's summary tells. A bar of that very cell began earlier and is left to an earlier chunk.
- Tick, volume and dollar bars depend on all ticks before: one pass records the kernel's state at each chunk.
- Bars of an hour and more are few and reach far: one pass makes them all.

What a pass makes is kept in a file, so that it happens once a dataset.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.features.bars import NO_BARS, BarBuilder, Bars, BarState
from lit.features.intervals import FIXED_UNITS, Interval, TimeGrid
from lit.features.stored_ticks import Kept, StoredTicks
from lit.features.window import rows_asked
from lit.streams.atomic import write_file
from lit.streams.tick import END_OF_TIME, Int64Array

log = logging.getLogger(__name__)

#: From this width on (ns), all bars are made at once.
COARSE_NS = FIXED_UNITS["hour"]
_BAR_BYTES = 8 * 13


@dataclass(frozen=True, slots=True)
class _Begun:
    """Bars that begin in a chunk: those that end in it, and the kernel's state at its end if one is open."""

    closed: Bars
    tail: BarState | None

    def begins(self) -> Int64Array:
        """First ticks of the bars, the open one's too."""
        if self.tail is None:
            return self.closed.first_index
        return np.append(self.closed.first_index, self.tail.ints[2])


_NOTHING = _Begun(NO_BARS, None)


class StoredBars:
    """The bars.

    Parameters
    ----------
    ticks
        The symbol's ticks.
    interval, zone
        What a bar spans; the exchange's time zone.
    kept
        Shared by the dataset.
    file
        Where a pass keeps what it made; none: in memory alone.
    """

    def __init__(self, ticks: StoredTicks, interval: Interval, zone: str, kept: Kept, file: Path | None) -> None:
        self._ticks, self._interval, self._zone, self._kept, self._file = ticks, interval, zone, kept, file
        self._lock = threading.Lock()

    def span(
        self, positions: Int64Array, count: int, future: bool, prevent_lookahead_bias: bool
    ) -> tuple[Bars, Int64Array, Int64Array]:
        """Return bars, and which rows of them each position (all of one chunk) asks for, as (first, stop)."""
        if self._coarse:
            bars, open_first = self._all, None
        else:
            bars, open_first = self._near(positions, count, future, prevent_lookahead_bias)
        _, first, stop = rows_asked(bars, open_first, positions, count, future, prevent_lookahead_bias)
        return bars, np.clip(first, 0, len(bars)), np.clip(stop, 0, len(bars))

    @property
    def _coarse(self) -> bool:
        unit = self._interval.unit
        return unit == "day" or FIXED_UNITS.get(unit, 0) * self._interval.size >= COARSE_NS

    def _near(
        self, positions: Int64Array, count: int, future: bool, prevent_lookahead_bias: bool
    ) -> tuple[Bars, int | None]:
        """Return the bars around some positions, as many as they ask for, and where one begins that is left out."""
        chunk = int(self._ticks.chunk_of(positions[:1])[0])
        low = high = chunk
        own = self._begun(chunk).begins()
        before = int(np.searchsorted(own, positions.min(), side="right"))
        behind = len(own) - int(np.searchsorted(own, positions.max(), side="right"))
        back = int(not prevent_lookahead_bias) if future else count + int(prevent_lookahead_bias)
        step = 1
        while before < back and low > 0:
            if self._begins(low - 1):
                self._load(low - step, low)
                step *= 2
            low -= 1
            before += len(self._begun(low).begins())
        step = 1
        while future and behind < count and high < self._ticks.chunks - 1:
            if self._begins(high + 1):
                self._load(high + 1, high + 1 + step)
                step *= 2
            high += 1
            behind += len(self._begun(high).begins())
        parts = [self._whole(number) for number in range(low, high)]
        last = self._begun(high)
        if last.tail is not None and not future and (prevent_lookahead_bias or positions.max() < last.tail.ints[2]):
            return Bars.concat([*parts, last.closed]), last.tail.ints[2]
        return Bars.concat([*parts, self._whole(high)]), None

    def _load(self, first: int, stop: int) -> None:
        wanted = range(max(first, 0), min(stop, self._ticks.chunks))
        self._ticks.load(
            [chunk for chunk in wanted if self._begins(chunk) and self._kept.get(self._key(chunk)) is None]
        )

    def _key(self, chunk: int, whole: bool = False) -> Any:
        return self._ticks.symbol, self._interval, self._zone, chunk, whole

    def _begun(self, chunk: int) -> _Begun:
        if not self._begins(chunk):
            return _NOTHING
        found = self._kept.get(self._key(chunk))
        if found is None:
            found = self._compute(chunk)
            self._kept.put(self._key(chunk), found, _BAR_BYTES * (len(found.closed) + 4))
        return found

    def _compute(self, chunk: int) -> _Begun:
        start = self._ticks.start(chunk)
        if self._interval.by_time:
            known = chunk > 0
            floor = int(self._cells[chunk])
            state = BarState(next_index=start, floor=floor) if known else BarState()
            partial = floor if known else None
        else:
            state, partial = self._states[chunk], None
        builder = BarBuilder(self._interval, self._zone, state)
        closed = builder.update(self._ticks.block(chunk))
        after = builder.state
        tail = after if after.is_open and after.ints[2] >= start else None
        earlier = int((closed.first_index < start).sum())
        if partial is not None:
            edge = int(self._grid.start(np.array([partial]))[0])
            if len(closed) and closed.start[0] == edge:
                earlier = 1
            elif not len(closed) and tail is not None and tail.ints[0] == partial:
                tail = None
        return _Begun(closed.take(slice(earlier, None)), tail)

    def _whole(self, chunk: int) -> Bars:
        """Return the bars that begin in a chunk; the last one is followed into the chunks behind."""
        begun = self._begun(chunk)
        if begun.tail is None:
            return begun.closed
        found = self._kept.get(self._key(chunk, whole=True))
        if found is None:
            found = Bars.concat([begun.closed, self._end(begun.tail, chunk)])
            self._kept.put(self._key(chunk, whole=True), found, _BAR_BYTES * len(found))
        return found

    def _end(self, tail: BarState, chunk: int) -> Bars:
        builder = BarBuilder(self._interval, self._zone, tail)
        for later in range(chunk + 1, self._ticks.chunks):
            closed = builder.update(self._ticks.block(later))
            if len(closed):
                return closed.take(slice(0, 1))
        return builder.advance(END_OF_TIME)

    def _begins(self, chunk: int) -> bool:
        """Whether a bar begins in a chunk, known without its ticks."""
        if self._interval.by_time:
            return chunk == 0 or bool(self._cells[chunk] != self._cells[chunk + 1])
        before, after = self._states[chunk], self._states[chunk + 1]
        return before.ordinal + before.is_open != after.ordinal + after.is_open

    @cached_property
    def _grid(self) -> TimeGrid:
        return TimeGrid(self._interval, self._zone)

    @cached_property
    def _cells(self) -> Int64Array:
        """The cell of the latest time before each chunk (the first has none: 0), and of all."""
        cells = self._grid.cells(self._ticks.peaks[1:])
        return np.concatenate([[0], cells])

    @property
    def _states(self) -> list[BarState]:
        """The kernel's state before each chunk, and behind the last."""
        with self._lock:
            return self._states_once

    @cached_property
    def _states_once(self) -> list[BarState]:
        def decode(body: bytes) -> list[BarState]:
            return msgspec.msgpack.decode(body, type=list[BarState])

        def make() -> list[BarState]:
            builder = BarBuilder(self._interval, self._zone)
            states = [builder.state]
            for block in self._ticks.blocks():
                builder.update(block)
                states.append(builder.state)
            return states

        return self._once(decode, make, msgspec.msgpack.encode)

    @property
    def _all(self) -> Bars:
        with self._lock:
            return self._all_once

    @cached_property
    def _all_once(self) -> Bars:
        def decode(body: bytes) -> Bars:
            columns = msgspec.msgpack.decode(body, type=list[bytes])
            values = np.frombuffer(columns[0], np.float64).reshape(-1, 8)
            return Bars(values, *(np.frombuffer(column, np.int64) for column in columns[1:]))

        def make() -> Bars:
            builder = BarBuilder(self._interval, self._zone)
            parts = [builder.update(block) for block in self._ticks.blocks()]
            return Bars.concat([*parts, builder.advance(END_OF_TIME)])

        def encode(bars: Bars) -> bytes:
            return msgspec.msgpack.encode([getattr(bars, field.name).tobytes() for field in fields(Bars)])

        return self._once(decode, make, encode)

    def _once(self, decode: Callable[[bytes], Any], make: Callable[[], Any], encode: Callable[[Any], bytes]) -> Any:
        """Return what a pass made, from its file or by the pass."""
        if self._file is not None and self._file.is_file():
            try:
                return decode(self._file.read_bytes())
            except (msgspec.MsgspecError, ValueError):
                log.warning("%s is damaged and made again", self._file)
        log.info("one pass over %d ticks of %s for %s bars", len(self._ticks), self._ticks.symbol, self._interval)
        made = make()
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_file(self._file, encode(made))
        return made
