"""The bar kernel: ticks of one symbol in, closed bars out; incremental, and blind to how the ticks were cut.

Every bar in the platform comes from here: live, backfill, SDK, tests. No Kafka, no clock, no files. Sums run in
tick order (never pairwise, never per block), so that any cut of the same ticks gives the same bits.

The late rule: a tick whose time falls before its symbol's current bar changes nothing but a counter. A watermark
moves the current bar's edge ahead without a tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from lit.features.intervals import COUNT_UNITS, Interval, TimeGrid
from lit.streams.records import Bar
from lit.streams.tick import END_OF_TIME, Float64Array, Int64Array, TickBlock, Watermark, iso

#: Columns of a bar, in this order wherever bars are a matrix.
BAR_COLUMNS = ("open", "high", "low", "close", "trades", "volume", "mean_trade_size", "max_trade_size")
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars of one symbol and interval, oldest first.

    Parameters
    ----------
    values
        float64 (n, 8), columns `BAR_COLUMNS`.
    start, end
        Edges in ns, UTC: of the time unit; for tick, volume and dollar bars the first and the last trade's time.
    first_index, last_index
        The ticks a bar spans.
    ordinal
        Grows by one a bar, from 0.
    """

    values: Float64Array
    start: Int64Array
    end: Int64Array
    first_index: Int64Array
    last_index: Int64Array
    ordinal: Int64Array

    def __len__(self) -> int:
        return len(self.ordinal)

    def take(self, rows: slice) -> Bars:
        """Return a slice of the bars."""
        return Bars(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def concat(parts: Sequence[Bars]) -> Bars:
        """Join bars that follow each other."""
        if not parts:
            return NO_BARS
        return Bars(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Bars)))

    def records(self, symbol: str, interval: Interval | str) -> Iterator[Bar]:
        """Yield the bars as the records that topics carry."""
        name = str(interval)
        columns = zip(
            self.values.tolist(),
            self.start.tolist(),
            self.end.tolist(),
            self.first_index.tolist(),
            self.last_index.tolist(),
            self.ordinal.tolist(),
            strict=True,
        )
        for values, start, end, first, last, ordinal in columns:
            yield Bar(symbol, name, iso(start), iso(end), *values, first, last, ordinal)  # type: ignore[call-arg]


def _empty(dtype: Any = np.int64) -> npt.NDArray[Any]:
    return np.empty(0, dtype)


NO_BARS = Bars(np.empty((0, 8)), _empty(), _empty(), _empty(), _empty(), _empty())


class BarState(msgspec.Struct):
    """What a builder must remember between two blocks; JSON-safe, floats exact.

    `floor` is the cell (time bars) or time (others) below which a tick is late; `next_index` the tick awaited next.
    """

    next_index: int = 0
    ordinal: int = 0
    late: int = 0
    floor: int = _NEVER
    is_open: bool = False
    floats: list[float] = msgspec.field(default_factory=lambda: [0.0] * 8)
    ints: list[int] = msgspec.field(default_factory=lambda: [0] * 4)


class BarBuilder:
    """Builds the bars of one symbol and interval from consecutive blocks.

    Parameters
    ----------
    interval
        What a bar spans.
    zone
        The exchange's time zone; matters to `day` bars alone.
    state
        Where an earlier builder stopped; none: at the first tick.
    """

    def __init__(self, interval: Interval, zone: str = "America/New_York", state: BarState | None = None) -> None:
        self.interval = interval
        self._grid = TimeGrid(interval, zone) if interval.by_time else None
        state = state or BarState()
        self.next_index = state.next_index
        self._floats = np.array(state.floats, np.float64)
        self._ints = np.array([int(state.is_open), state.floor, state.ordinal, state.late, *state.ints], np.int64)

    @property
    def open_first(self) -> int | None:
        """First tick of the open bar, if one is open."""
        return int(self._ints[_FIRST]) if self._ints[_OPEN] else None

    @property
    def late(self) -> int:
        """How many ticks came late so far."""
        return int(self._ints[_LATE])

    @property
    def state(self) -> BarState:
        """A snapshot to go on from."""
        ints = self._ints.tolist()
        return BarState(
            next_index=self.next_index,
            ordinal=ints[_ORDINAL],
            late=ints[_LATE],
            floor=ints[_FLOOR],
            is_open=bool(ints[_OPEN]),
            floats=self._floats.tolist(),
            ints=ints[4:],
        )

    def update(self, block: TickBlock) -> Bars:
        """Take the next block and return the bars that it closed.

        Raises
        ------
        ValueError
            If the block is not the next one.
        """
        if block.first_index != self.next_index:
            raise ValueError(f"block begins at tick {block.first_index}, expected {self.next_index}")
        self.next_index = block.next_index
        stamps = block.timestamp
        keys = self._grid.cells(stamps) if self._grid else stamps
        mode = 0 if self._grid else 1 + COUNT_UNITS.index(self.interval.unit)
        count = len(block) + 1
        values, longs = np.empty((count, 8)), np.empty((count, 5), np.int64)
        closed = _accumulate(
            mode,
            float(self.interval.size),
            keys,
            stamps,
            block.price,
            block.volume,
            block.first_index,
            self._floats,
            self._ints,
            values,
            longs,
        )
        return self._bars(values[:closed].copy(), longs[:closed]) if closed else NO_BARS

    def advance(self, timestamp: int) -> Bars:
        """Take a watermark: close what ends at or before `timestamp` (ns); `END_OF_TIME` closes whatever is open."""
        values, longs = np.empty((1, 8)), np.empty((1, 5), np.int64)
        closed = 0
        if timestamp == END_OF_TIME:
            floor = END_OF_TIME
        elif self._grid:
            floor = int(self._grid.cells(np.array([timestamp], np.int64))[0])
        else:
            return NO_BARS  # no time closes a bar of ticks, volume or dollars
        if self._ints[_OPEN] and floor > self._ints[_FLOOR]:
            _close(self._floats, self._ints, values, longs, 0)
            closed = 1
        self._ints[_FLOOR] = max(self._ints[_FLOOR], floor)
        return self._bars(values[:closed], longs[:closed])

    def forming(self) -> Bars:
        """Return the open bar as it is now (one row), or no row; never to be taken for a closed one."""
        if not self._ints[_OPEN]:
            return NO_BARS
        values, longs = np.empty((1, 8)), np.empty((1, 5), np.int64)
        _close(self._floats.copy(), self._ints.copy(), values, longs, 0)
        return self._bars(values, longs)

    def _bars(self, values: Float64Array, longs: Int64Array) -> Bars:
        key, stop, first, last, ordinal = np.ascontiguousarray(longs.T)
        if self._grid:
            key, stop = self._grid.start(key), self._grid.end(key)
        return Bars(values, key, stop, first, last, ordinal)


# Positions in the kernel's integer state; then: key (or start time), last time, first index, last index.
_OPEN, _FLOOR, _ORDINAL, _LATE, _KEY, _LAST_TIME, _FIRST, _LAST = range(8)
# Positions in its float state: open, high, low, close, trades, volume, largest trade, dollars.


def bars_of(items: Iterable[TickBlock | Watermark], interval: Interval) -> dict[str, Bars]:
    """Return the closed bars of each symbol of a recorded sequence; repeated ticks are skipped, as live."""
    builders: dict[str, BarBuilder] = {}
    parts: dict[str, list[Bars]] = {}
    for item in items:
        builder = builders.get(item.symbol)
        if builder is None:
            builder, parts[item.symbol] = BarBuilder(interval), []
            builders[item.symbol] = builder
        closed = parts[item.symbol]
        if isinstance(item, Watermark):
            if item.next_index == builder.next_index:
                closed.append(builder.advance(item.timestamp))
        elif item.next_index > builder.next_index:
            closed.append(builder.update(item.slice(builder.next_index - item.first_index)))
    return {symbol: Bars.concat(own) for symbol, own in parts.items()}


@njit(cache=True)  # type: ignore[untyped-decorator]
def _close(floats, ints, values, longs, row):  # type: ignore[no-untyped-def]
    for i in range(6):
        values[row, i] = floats[i]
    values[row, 6] = floats[5] / floats[4]
    values[row, 7] = floats[6]
    longs[row, 0] = ints[_KEY]
    longs[row, 1] = ints[_LAST_TIME]
    longs[row, 2] = ints[_FIRST]
    longs[row, 3] = ints[_LAST]
    longs[row, 4] = ints[_ORDINAL]
    ints[_ORDINAL] += 1
    ints[_OPEN] = 0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _accumulate(mode, size, keys, stamps, price, volume, first, floats, ints, values, longs):  # type: ignore[no-untyped-def]
    closed = 0
    for i in range(len(keys)):
        key, p, v = keys[i], price[i], volume[i]
        if key < ints[_FLOOR]:
            ints[_LATE] += 1
            continue
        if mode == 0 and ints[_OPEN] and key > ints[_KEY]:
            _close(floats, ints, values, longs, closed)
            closed += 1
        if not ints[_OPEN]:
            ints[_OPEN] = 1
            ints[_KEY] = key
            ints[_FLOOR] = key
            ints[_FIRST] = first + i
            floats[0] = p
            floats[1] = p
            floats[2] = p
            floats[4] = 0.0
            floats[5] = 0.0
            floats[6] = v
            floats[7] = 0.0
        floats[1] = max(floats[1], p)
        floats[2] = min(floats[2], p)
        floats[3] = p
        floats[4] += 1.0
        floats[5] += v
        floats[6] = max(floats[6], v)
        floats[7] += p * v
        ints[_LAST_TIME] = stamps[i]
        ints[_LAST] = first + i
        if (mode == 1 and floats[4] >= size) or (mode == 2 and floats[5] >= size) or (mode == 3 and floats[7] >= size):
            _close(floats, ints, values, longs, closed)
            closed += 1
            ints[_FLOOR] = stamps[i]
    return closed
