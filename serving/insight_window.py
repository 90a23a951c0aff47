"""A symbol's past as a stream recorded it, and the window that a model's features see of it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from lit.features.bars import Bars, BarState
from lit.features.intervals import Interval
from lit.features.window import SymbolWindow
from lit.serving.recorded import columns_of
from lit.streams.codec import decode
from lit.streams.records import Bar
from lit.streams.tick import Float64Array, Int64Array, TickBlock, Watermark


class Recorded(msgspec.Struct, frozen=True):
    """What a symbol's window is made of: closed bars by interval, or all ticks.

    Parameters
    ----------
    bars
        Interval → bars up to the one that holds the sample's tick, oldest first, as many as are at hand.
    whole
        Whether the bars reach back to the first.
    ticks
        File with the messages of the tick topic from the first on (`write_message`); empty: bars alone.
    intervals
        Bars that features ask for of the ticks.
    """

    symbol: str
    bars: dict[str, list[Bar]] = {}
    whole: bool = True
    ticks: str = ""
    intervals: list[str] = []


class PastWindow(SymbolWindow):
    """A window that notices when what is asked of it reaches back beyond the bars at hand."""

    def __init__(self, recorded: Recorded, intervals: list[Interval]) -> None:
        super().__init__(recorded.symbol, intervals, keep_ticks=bool(recorded.ticks))
        self._reaches_first = recorded.whole
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
        self.short |= not self._reaches_first and len(found) < count
        return found

    def get_bars_batch(self, indices: Int64Array, count: int, *arguments: Any, **options: Any) -> Any:
        """Return bars of many indices (see `SymbolWindow`)."""
        values, lengths = super().get_bars_batch(indices, count, *arguments, **options)
        self.short |= not self._reaches_first and bool((lengths < count).any())
        return values, lengths


def window_of(recorded: Recorded) -> PastWindow:
    """Return the window as it was at the sample, or a little later: features see no difference."""
    if recorded.ticks:
        window = PastWindow(recorded, [Interval.parse(text) for text in recorded.intervals])
        for item in _items(Path(recorded.ticks)):
            window.feed(item)
        return window
    window = PastWindow(recorded, [Interval.parse(text) for text in recorded.bars])
    for text, records in recorded.bars.items():
        closed = columns_of(records)
        after = int(closed.last_index[-1]) + 1
        # counted from 0, bars before them were never there: `PastWindow` notices who asks for those
        counted = Bars(
            closed.values, closed.start, closed.end, closed.first_index, closed.last_index, np.arange(len(closed))
        )
        window.bars_of(Interval.parse(text)).restore(counted, BarState(next_index=after, ordinal=len(closed)))
    return window


def write_message(file: IO[bytes], key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """Append a message of a tick topic to a file."""
    data = msgspec.msgpack.encode([key, value, headers])
    file.write(len(data).to_bytes(4, "big") + data)


def _items(path: Path) -> Iterator[TickBlock | Watermark]:
    """Yield what the messages of a file say, repeats left out, as processors do."""
    expected = 0
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
