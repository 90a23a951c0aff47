"""A symbol's past as a stream recorded it, and the window that a model's features see of it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from lit.features.bars import NO_BARS, Bars, BarState
from lit.features.intervals import Interval
from lit.features.window import BarWindow, SymbolWindow
from lit.serving.recorded import columns_of
from lit.streams.codec import decode
from lit.streams.records import Bar
from lit.streams.tick import Float64Array, Int64Array, TickBlock, Watermark


class Recorded(msgspec.Struct, frozen=True):
    """What a symbol's window is made of: closed bars by interval, ticks, or both.

    Parameters
    ----------
    bars
        Interval → bars up to the one that holds the sample's tick, oldest first, as many as are at hand.
    ticks
        File with messages of the tick topic (`write_message`), none missing between two; empty: bars alone.
    begin
        The first tick in the file.
    intervals
        Bars that are made of the ticks. Where `begin` is not the first tick of all, the first of them is not whole, and
        left out.
    more
        Whether bars or ticks before those at hand are on record.
    """

    symbol: str
    bars: dict[str, list[Bar]] = {}
    ticks: str = ""
    begin: int = 0
    intervals: list[str] = []
    more: bool = False


class PastWindow(SymbolWindow):
    """A window that notices when what is asked of it reaches back beyond the bars and ticks at hand."""

    def __init__(self, recorded: Recorded) -> None:
        intervals = [Interval.parse(text) for text in (*recorded.bars, *recorded.intervals)]
        super().__init__(recorded.symbol, intervals, keep_ticks=bool(recorded.ticks))
        self._begin = recorded.begin
        cut = [text for text, bars in recorded.bars.items() if bars[0].ordinal > 0]
        self._cut = {Interval.parse(text) for text in [*cut, *(recorded.intervals if recorded.begin else [])]}
        #: Whether more of the past could have changed an answer.
        self.short = False

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return bars (see `SymbolWindow`)."""
        found = super().get_bars(index, count, unit, size, future, prevent_lookahead_bias)
        self.short |= Interval.of(unit, size) in self._cut and len(found) < count
        return found

    def get_bars_batch(
        self, indices: Int64Array, count: int, unit: str, size: float, *arguments: Any, **options: Any
    ) -> Any:
        """Return bars of many indices (see `SymbolWindow`)."""
        values, lengths = super().get_bars_batch(indices, count, unit, size, *arguments, **options)
        self.short |= Interval.of(unit, size) in self._cut and bool((lengths < count).any())
        return values, lengths

    def _window(self, interval: Interval) -> BarWindow:
        self.short |= self._begin > 0 and interval not in self._bars
        return super()._window(interval)

    def _reaching(self, first: int, last: int) -> list[TickBlock]:
        self.short |= 0 <= first < self._begin
        return super()._reaching(first, last)


def window_of(recorded: Recorded) -> PastWindow:
    """Return the window as it was at the sample, or a little later: features see no difference."""
    window = PastWindow(recorded)
    if recorded.ticks and not recorded.begin:
        for item in _items(Path(recorded.ticks), 0):
            window.feed(item)
        return window
    for text, records in recorded.bars.items():
        closed = columns_of(records)
        _restore(window.bars_of(Interval.parse(text)), closed, BarState(next_index=int(closed.last_index[-1]) + 1))
    if recorded.ticks:
        made = [window.bars_of(Interval.parse(text)) for text in recorded.intervals]
        for one in made:
            one.restore(NO_BARS, BarState(next_index=recorded.begin))
        for item in _items(Path(recorded.ticks), recorded.begin):
            window.keep(item)
            for one in made:
                one.feed(item)
        for one in made:
            _restore(one, one.bars.take(slice(1, None)), one.state)
    return window


def _restore(window: BarWindow, bars: Bars, state: BarState) -> None:
    """Let a window go on from bars that are counted from 0: those before were never there, `PastWindow` notices."""
    counted = Bars(bars.values, bars.start, bars.end, bars.first_index, bars.last_index, np.arange(len(bars)))
    window.restore(counted, msgspec.structs.replace(state, ordinal=len(bars)))


def write_message(file: IO[bytes], key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """Append a message of a tick topic to a file."""
    data = msgspec.msgpack.encode([key, value, headers])
    file.write(len(data).to_bytes(4, "big") + data)


def _items(path: Path, expected: int) -> Iterator[TickBlock | Watermark]:
    """Yield what the messages of a file say from a tick on, repeats left out, as processors do."""
    with path.open("rb") as file:
        while head := file.read(4):
            key, value, headers = msgspec.msgpack.decode(file.read(int.from_bytes(head, "big")))
            item = decode(key, value, [(name, data) for name, data in headers])
            if isinstance(item, Watermark):
                if item.next_index == expected:
                    yield item
            elif item.next_index > expected:
                yield item.slice(expected - item.first_index)
                expected = item.next_index
