"""Looking around in a dataset of the tick store: windows, searches, the whole at a glance."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from lit.features.stored import StoredDataset
from lit.streams.errors import UserError
from lit.streams.search import FIELDS, parse
from lit.streams.store import BUCKET_TICKS, TickRange
from lit.streams.tick import Int64Array

#: Ticks of one window at the most, some 24 bytes each with the default columns.
MAX_WINDOW = 2_000_000
MAX_POINTS = 20_000
DEFAULT_COLUMNS = ("timestamp", "Price", "Volume", "session")

#: A search counts the dataset in slices of about this long, so that others get their turn between them.
_SLICE_SECONDS = 0.25
_SLICE_TICKS = 1 << 21
_REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Covered:
    """A range of the store and the dataset's index of its first tick."""

    index: int
    range: TickRange


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    Parameters
    ----------
    indices
        Ticks of the window that match, ascending.
    window
        (first, last): ticks first…last−1 were searched for them.
    matches, searched, total
        How many match among the dataset's first `searched` ticks, of `total`; complete if these are equal.
    """

    indices: Int64Array
    window: tuple[int, int]
    matches: int
    searched: int
    total: int


@dataclass(frozen=True, slots=True)
class Overview:
    """A stretch of a dataset as points that keep its extremes.

    Parameters
    ----------
    table
        One row a point: `index` (of its first tick), `ticks`, `start`, `end` (earliest and latest time, ns), `low`,
        `high` (prices), `smallest`, `largest` (volumes).
    ticks
        How many ticks the points stand for.
    ticks_per_point
        1: nothing was left out.
    """

    table: pa.Table
    ticks: int
    ticks_per_point: int


class Discovery:
    """Reads for people who look at a dataset; for several threads."""

    def __init__(self, dataset: StoredDataset) -> None:
        self.dataset = dataset
        self._starts = np.cumsum([0, *(part.count for part in dataset.parts)])
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.dataset)

    @cached_property
    def extras(self) -> dict[str, str]:
        """Kind (`text`, `number`, `integer`) of each field that the adapter keeps beyond the tick model."""
        whole = [TickRange(part.origin, part.symbol, 0, part.count, True) for part in self.dataset.parts]
        return {
            name: _kind(arrow) for name, arrow in self.dataset.store.ranges.extras(self.dataset.source, whole).items()
        }

    @property
    def fields(self) -> dict[str, str]:
        """Kind of each field that can be searched."""
        return {**FIELDS, **self.extras}

    def covered(self, first: int, last: int, symbol: str | None = None) -> list[Covered]:
        """Return the store's ranges of indices first…last−1, of one symbol or all."""
        self._check_symbol(symbol)
        found = []
        for number in range(
            max(int(np.searchsorted(self._starts, first, side="right")) - 1, 0), len(self.dataset.parts)
        ):
            part, start = self.dataset.parts[number], int(self._starts[number])
            if start >= last:
                break
            low, high = max(first - start, 0), min(last - start, part.count)
            if low < high and symbol in (None, part.symbol):
                one = TickRange(part.origin, part.symbol, low, high, high - low == part.count)
                found.append(Covered(start + low, one))
        return found

    def between(self, start: int, end: int, symbol: str | None = None) -> list[Covered]:
        """Return the ranges from the first tick at or after `start` to before the first at or after `end` (ns).

        Each symbol's sequence is taken by itself; the ranges are in the dataset's order.
        """
        self._check_symbol(symbol)
        if end < start:
            raise UserError("the window's end is before its start: exchange them")
        wanted = {
            name: (self._position(name, start), self._position(name, end))
            for name in ([symbol] if symbol else self.dataset.symbols)
        }
        found, bases = [], dict.fromkeys(wanted, 0)
        for number, part in enumerate(self.dataset.parts):
            if part.symbol not in wanted:
                continue
            base = bases[part.symbol]
            bases[part.symbol] += part.count
            low, high = (min(max(edge - base, 0), part.count) for edge in wanted[part.symbol])
            if low < high:
                one = TickRange(part.origin, part.symbol, low, high, high - low == part.count)
                found.append(Covered(int(self._starts[number]) + low, one))
        return found

    def index_at(self, timestamp: int, symbol: str | None = None) -> int:
        """Return the index of the first tick at or after a time (ns), of one symbol or in the dataset's order.

        Raises
        ------
        UserError
            If there is none.
        """
        later = self.between(timestamp, np.iinfo(np.int64).max, symbol)
        if not later:
            raise UserError("no tick of the dataset is at or after that time")
        return later[0].index

    def window(
        self, covered: Sequence[Covered], names: Sequence[str] = DEFAULT_COLUMNS, limit: int | None = MAX_WINDOW
    ) -> pa.Table:
        """Return columns of ticks, and their `index`.

        Raises
        ------
        UserError
            If these are too many, or a field is unknown.
        """
        count = sum(len(one.range) for one in covered)
        if limit is not None and count > limit:
            raise UserError(f"the window has {count:,} ticks: at most {limit:,} come at once; the overview has all")
        index = np.concatenate([np.arange(one.index, one.index + len(one.range)) for one in covered] or [np.arange(0)])
        if covered:
            table = self.dataset.store.ranges.columns(self.dataset.source, [one.range for one in covered], list(names))
        else:
            whole = self.covered(0, 1)
            table = self.dataset.store.ranges.columns(
                self.dataset.source, [one.range for one in whole], list(names)
            ).slice(0, 0)
        return table.add_column(0, "index", pa.array(index.astype(np.int64)))

    def search(self, text: str, covered: Sequence[Covered], seconds: float = 5.0) -> Found:
        """Find the ticks of a window that match, and count those of the whole dataset as far as the time allows.

        What was counted is remembered: the same search goes on from there.
        """
        count = sum(len(one.range) for one in covered)
        if count > MAX_WINDOW:
            raise UserError(f"a search marks the points of at most {MAX_WINDOW:,} ticks, not {count:,}")
        search = parse(text, self.extras)
        deadline = time.monotonic() + seconds
        indices = np.zeros(0, np.int64)
        if covered:
            numbers, places = self.dataset.store.ranges.matches(
                self.dataset.source, [one.range for one in covered], search
            )
            shifts = np.array([one.index - one.range.first for one in covered])
            indices = places + shifts[numbers]
        with self._lock:
            matches, searched = self._counts.get(text, (0, 0))
        step = _SLICE_TICKS
        while searched < len(self) and time.monotonic() < deadline:
            began, stop = time.monotonic(), min(searched + step, len(self))
            ranges = [one.range for one in self.covered(searched, stop)]
            matches += self.dataset.store.ranges.count(self.dataset.source, ranges, search)
            took = time.monotonic() - began
            step = int(min(max(step * _SLICE_SECONDS / max(took, 1e-3), _SLICE_TICKS), 2 * step, 64 * _SLICE_TICKS))
            searched = stop
            time.sleep(0.001)  # the embedded engine takes one query at a time, and a lock is not fair
        self._remember(text, matches, searched)
        edges = (covered[0].index, covered[-1].index + len(covered[-1].range)) if covered else (0, 0)
        return Found(np.sort(indices), edges, matches, searched, len(self))

    def _remember(self, text: str, matches: int, searched: int) -> None:
        with self._lock:
            if searched > self._counts.get(text, (0, 0))[1]:
                self._counts[text] = (matches, searched)
                self._counts.move_to_end(text)
                while len(self._counts) > _REMEMBERED:
                    self._counts.popitem(last=False)

    def overview(self, covered: Sequence[Covered], points: int) -> Overview:
        """Return a stretch as about so many points that keep the extremes of what they stand for.

        A point never spans two symbols or two files, so there may be as many more as there are files.
        """
        if not 1 <= points <= MAX_POINTS:
            raise UserError(f"{points} points are asked for: 1 to {MAX_POINTS:,}")
        ticks = sum(len(one.range) for one in covered)
        width = max(math.ceil(ticks / points), 1)
        if width > BUCKET_TICKS // 2:  # rather fewer points than all ticks read
            width = -(-width // BUCKET_TICKS) * BUCKET_TICKS
        table = self.dataset.store.ranges.extremes(self.dataset.source, [one.range for one in covered], width)
        owner, run = table.column("range").to_numpy(), table.column("run").to_numpy()
        shown = np.array([(one.index, one.range.first, one.range.last) for one in covered], np.int64).reshape(-1, 3)
        first = np.maximum(run * width, shown[owner, 1])
        last = np.minimum((run + 1) * width, shown[owner, 2])
        columns = {"index": shown[owner, 0] + first - shown[owner, 1], "ticks": last - first}
        kept = {name: table.column(name) for name in ("start", "end", "low", "high", "smallest", "largest")}
        return Overview(pa.table({**columns, **kept}), ticks, width)

    def _position(self, symbol: str, timestamp: int) -> int:
        """Return the position of a symbol's first tick at or after a time; its length if there is none."""
        ticks = self.dataset.symbols[symbol].ticks
        chunk = int(np.searchsorted(ticks.peaks[1:], timestamp))
        if chunk == ticks.chunks:
            return len(ticks)
        return ticks.start(chunk) + int(np.argmax(ticks.numbers(chunk)[0] >= timestamp))

    def _check_symbol(self, symbol: str | None) -> None:
        if symbol is not None and symbol not in self.dataset.symbols:
            known = ", ".join(list(self.dataset.symbols)[:20])
            raise UserError(f"the dataset has no symbol {symbol!r}: it has {known}")


def _kind(arrow: str) -> str:
    if arrow in ("double", "float"):
        return "number"
    return "integer" if "int" in arrow else "text"
