"""What one symbol's features can see: its recent ticks, and bars of any interval, over a dataset or a stream.

A window is fed blocks and watermarks in order. Reading what has not happened yet raises
`NeedMoreData`, so that a sample waits instead of seeing a half-made bar; once the sequence has ended, reads at its
edge return what there is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.features.bar_store import BarStore
from lit.features.bars import BarBuilder, Bars, BarState
from lit.features.intervals import Interval
from lit.streams.errors import UserError
from lit.streams.tick import Float64Array, Int64Array, TickBlock, Watermark

#: Length that a stream reports while it goes on: no index reaches it.
ENDLESS = 2**62
#: How far behind the oldest waiting sample ticks and bars are kept; the largest look-back a feature may have.
KEPT_TICKS = 100_000
KEPT_BARS = 65_536


class NeedMoreData(BaseException):  # no `except Exception` of a script may swallow the signal
    """A read beyond what has arrived.

    `served` tells how many of the leading indices of a batch read need nothing more.
    """

    def __init__(self, served: int = 0) -> None:
        super().__init__("reads beyond what has arrived")
        self.served = served


def rows_asked(
    bars: Bars, open_first: int | None, indices: Int64Array, count: int, future: bool, prevent_lookahead_bias: bool
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return which row holds each index, and the rows first…stop that `get_bars` means; they may be outside of `bars`.

    Parameters
    ----------
    open_first
        First index of the bar that follows the last row and is not closed; None: there is none.
    """
    held = np.searchsorted(bars.first_index, indices, side="right") - 1
    if open_first is not None:
        held = held + (indices >= open_first)
    if future:
        first = held + int(prevent_lookahead_bias)
        return held, first, first + count
    stop = held + int(not prevent_lookahead_bias)
    return held, stop - count, stop


class BarWindow:
    """Closed bars of one interval, as far back as they are kept, and which of them an index means.

    Fed by a `BarBuilder` over ticks, which may go on from where a recorded one stopped (`restore`).
    """

    def __init__(self, interval: Interval, zone: str) -> None:
        self.interval = interval
        self._zone = zone
        self._builder = BarBuilder(interval, zone)
        self._store = BarStore()
        self._dropped = 0
        self._ended = False
        self._next_index = 0

    def feed(self, item: TickBlock | Watermark) -> Bars:
        """Take the next block or watermark and return the bars that it closed."""
        if isinstance(item, Watermark):
            bars = self._builder.advance(item.timestamp)
            self.append(bars, self._builder.next_index)
            self._ended = item.ends
        else:
            bars = self._builder.update(item)
            self.append(bars, item.next_index)
        return bars

    @property
    def next_index(self) -> int:
        """The tick that is awaited next."""
        return self._next_index

    @property
    def state(self) -> BarState:
        """The builder's state, to go on from."""
        return self._builder.state

    def restore(self, bars: Bars, state: BarState) -> None:
        """Begin where a recorded builder stopped: `bars` are those that it had closed, as far back as they are kept."""
        self._builder = BarBuilder(self.interval, self._zone, state)
        self._store = BarStore(bars)
        self._dropped = int(bars.ordinal[0]) if len(bars) else 0
        self._next_index = state.next_index

    def append(self, bars: Bars, next_index: int) -> None:
        """Take closed bars that follow those taken before; ticks below `next_index` are accounted for."""
        if len(bars):
            self._store.append(bars)
        self._next_index = next_index

    @property
    def bars(self) -> Bars:
        """All bars kept."""
        return self._store.bars

    def trim(self, oldest_index: int) -> None:
        """Let bars go that lie far behind `oldest_index`."""
        cut = int(np.searchsorted(self.bars.first_index, oldest_index)) - KEPT_BARS
        if cut >= KEPT_BARS:  # halves the store at a time, so that copying stays rare
            self._store.drop(cut)
            self._dropped += cut

    def span(
        self, indices: Int64Array, count: int, future: bool, prevent_lookahead_bias: bool
    ) -> tuple[Int64Array, Int64Array]:
        """Return which rows of `bars` each index asks for, as (first, stop).

        Raises
        ------
        NeedMoreData
            If one of them needs a bar that is not closed yet.
        """
        bars = self.bars
        known = len(bars)
        held, first, stop = rows_asked(bars, self._builder.open_first, indices, count, future, prevent_lookahead_bias)
        begun, beyond = indices >= 0, indices >= self._next_index
        if not self._ended:
            lacking = begun & ((stop > known) | beyond)
            if lacking.any():
                raise NeedMoreData(int(np.argmax(lacking)))
        inside = begun & ~beyond
        if self._dropped and (first[inside] < 0).any():
            raise UserError(f"a feature asks for more than {KEPT_BARS} bars of {self.interval} back: use a larger bar")
        inside &= held >= 0
        # not np.clip: samples that come alone are many, and it takes three times as long for one
        return np.minimum(np.maximum(first, 0), known) * inside, np.minimum(np.maximum(stop, 0), known) * inside


class SymbolWindow:
    """The adapter that a feature sees while one symbol's ticks pass by; indices count within the symbol's sequence.

    Parameters
    ----------
    symbol
        Whose ticks.
    intervals
        Bars to keep from the first tick on. Others may be asked for as long as no tick was let go.
    zone
        The exchange's time zone (edges of `day` bars).
    keep_ticks
        Whether ticks may be asked for; without them, only announced intervals can be.
    """

    def __init__(
        self, symbol: str, intervals: Iterable[Interval] = (), zone: str = "America/New_York", keep_ticks: bool = True
    ) -> None:
        self.symbol = symbol
        self.ended = False
        self.next_index = 0
        #: The oldest tick that was read, itself or in a bar, since whoever asks set this.
        self.oldest_read = ENDLESS
        self._zone = zone
        self._history: list[TickBlock | Watermark] = []
        self._blocks: list[TickBlock] = []
        self._keep_ticks = keep_ticks
        self._whole = keep_ticks
        self._bars = {interval: BarWindow(interval, zone) for interval in intervals}

    def feed(self, item: TickBlock | Watermark) -> None:
        """Take the next block or watermark."""
        for window in self._bars.values():
            window.feed(item)
        self.keep(item)

    def keep(self, item: TickBlock | Watermark) -> None:
        """Take the next block or watermark for who asks for ticks; its bars came by another way."""
        if self._keep_ticks:
            self._history.append(item)
        if isinstance(item, Watermark):
            self.ended = item.ends
        elif len(item):
            if self._keep_ticks:
                self._blocks.append(item)
            self.next_index = item.next_index

    def bars_of(self, interval: Interval) -> BarWindow:
        """Return the window of an announced interval, to restore or feed it on its own; ticks do not tell it whole."""
        self._whole = False
        return self._bars[interval]

    @property
    def intervals(self) -> list[Interval]:
        """The intervals whose bars are kept."""
        return list(self._bars)

    @property
    def oldest_kept(self) -> int:
        """The first tick that may still be asked for."""
        return self._blocks[0].first_index if self._blocks else self.next_index

    def trim(self, oldest_index: int) -> None:
        """Let go what lies too far behind `oldest_index` to be asked for again."""
        for window in self._bars.values():
            window.trim(oldest_index)
        keep_from = oldest_index - KEPT_TICKS
        if self._blocks and self._blocks[0].first_index < keep_from - KEPT_TICKS:  # seldom, many at once
            self._blocks = [block for block in self._blocks if block.next_index > keep_from]
            self._history = [item for item in self._history if item.next_index > keep_from]
            self._whole = False

    def __len__(self) -> int:
        return self.next_index if self.ended else ENDLESS

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < 0 or (self.ended and index >= self.next_index):
            raise IndexError(f"tick {index} is outside 0…{self.next_index - 1}")
        if index >= self.next_index:
            raise NeedMoreData
        block = self._reaching(index, index)[0]
        return block.packet(index - block.first_index)

    def blocks(self, first: int, last: int) -> list[TickBlock]:
        """Return ticks first…last−1 as the blocks that they are in."""
        found = self._reaching(first, last - 1) if first < last else []
        return [block.slice(first - block.first_index, last - block.first_index) for block in found]

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks (see `TradersBaseAdapter`)."""
        indices = np.asarray(indices, np.int64)
        beyond = indices >= self.next_index
        if beyond.any():
            if self.ended:
                raise IndexError(f"tick {indices[beyond][0]} is outside 0…{self.next_index - 1}")
            raise NeedMoreData(int(np.argmax(beyond)))
        if not len(indices):
            return np.empty(0)
        blocks = self._reaching(int(indices.min()), int(indices.max()))
        parts = [block.batch.column(name).to_numpy(zero_copy_only=False) for block in blocks]
        values: npt.NDArray[Any] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return values[indices - blocks[0].first_index]

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return bars around the bar that holds tick `index` (see `TradersBaseAdapter`)."""
        window = self._window(Interval.of(unit, size))
        first, stop = window.span(np.array([index], np.int64), int(count), bool(future), bool(prevent_lookahead_bias))
        if stop[0] > first[0]:
            self.oldest_read = min(self.oldest_read, int(window.bars.first_index[first[0]]))
        return window.bars.values[first[0] : stop[0]].copy()

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[Float64Array, Int64Array]:
        """Return `get_bars` of many indices (see `TradersBaseAdapter`)."""
        window = self._window(Interval.of(unit, size))
        first, stop = window.span(np.asarray(indices, np.int64), int(count), bool(future), bool(prevent_lookahead_bias))
        if (read := stop > first).any():
            self.oldest_read = min(self.oldest_read, int(window.bars.first_index[first[read].min()]))
        return gather(window.bars.values, first, stop, int(count))

    def _window(self, interval: Interval) -> BarWindow:
        window = self._bars.get(interval)
        if window is None:
            if not self._whole:
                raise UserError(
                    f"bars of {interval} were not announced and the ticks to make them of are gone: a feature "
                    "must ask for the same intervals at every sample"
                )
            window = self._bars[interval] = BarWindow(interval, self._zone)
            for item in self._history:
                window.feed(item)
        return window

    def _reaching(self, first: int, last: int) -> list[TickBlock]:
        """Return the blocks that hold ticks `first`…`last`."""
        self.oldest_read = min(self.oldest_read, first)
        if first < 0:
            raise IndexError(f"tick {first} is outside 0…{self.next_index - 1}")
        if not self._blocks or first < self._blocks[0].first_index:
            raise UserError(f"tick {first} is more than {KEPT_TICKS} ticks back")
        low = bisect_right(self._blocks, first, key=_first_index) - 1
        high = bisect_right(self._blocks, last, key=_first_index)
        return self._blocks[low:high]


def _first_index(block: TickBlock) -> int:
    return block.first_index


def gather(values: Float64Array, first: Int64Array, stop: Int64Array, count: int) -> tuple[Float64Array, Int64Array]:
    """Copy rows `first`…`stop` of `values` for each sample: (m, count, columns), NaN behind, and lengths (m,)."""
    lengths = stop - first
    rows = first[:, None] + np.arange(count)
    valid = rows < stop[:, None]
    out = values[np.where(valid, rows, 0)] if len(values) else np.empty((len(first), count, values.shape[1]))
    out[~valid] = np.nan
    return out, lengths
