"""One symbol's ticks in the tick store, read in chunks as they are needed and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.store import BUCKET_TICKS, TickRange, TickStore
from lit.streams.tick import Float64Array, Int64Array, TickBlock, tick_block

#: Ticks of a chunk: a query of the store costs some 10 ms whatever it reads, and reads a chunk in as long again.
CHUNK_TICKS = 64 * BUCKET_TICKS
#: Chunks of one query at the most.
RUN_CHUNKS = 16
#: What a dataset keeps in memory of what it has read.
KEPT_BYTES = 256 * 1024 * 1024

_NUMBERS = ("timestamp", "Price", "Volume")
_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Part:
    """All ticks of one symbol in one file, as the store has them: `origin` is the file's."""

    origin: str
    symbol: str
    count: int


class Kept:
    """What was read, the latest used, up to so many bytes; for several threads."""

    def __init__(self, budget: int = KEPT_BYTES) -> None:
        self._budget = budget
        self._items: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def get(self, key: Any) -> Any:
        """Return what is kept under a key, or None."""
        with self._lock:
            if key not in self._items:
                return None
            self._items.move_to_end(key)
            return self._items[key][0]

    def put(self, key: Any, item: Any, size: int) -> None:
        """Keep an item and let the longest unused ones go."""
        with self._lock:
            self._bytes += size - self._items.pop(key, (None, 0))[1]
            self._items[key] = (item, size)
            while self._bytes > self._budget and len(self._items) > 1:
                self._bytes -= self._items.popitem(last=False)[1][1]


class StoredTicks:
    """A symbol's sequence: its parts one after the other, numbered from 0.

    Parameters
    ----------
    store, source
        Where the ticks are.
    parts
        Of one symbol, in the dataset's order.
    kept
        Shared by the dataset's symbols.
    chunk_ticks
        Ticks of a chunk, a multiple of `BUCKET_TICKS`; chunks begin anew with each part.
    """

    def __init__(
        self, store: TickStore, source: str, parts: Sequence[Part], kept: Kept, chunk_ticks: int = CHUNK_TICKS
    ) -> None:
        self.parts = tuple(parts)
        self.symbol = parts[0].symbol
        self._store, self._source, self._kept, self._chunk_ticks = store, source, kept, chunk_ticks
        starts, firsts, owners = [], [], []
        base = 0
        for number, part in enumerate(parts):
            own = np.arange(0, part.count, chunk_ticks, dtype=np.int64)
            starts.append(base + own)
            firsts.append(own)
            owners.append(np.full(len(own), number))
            base += part.count
        self._starts = np.concatenate([*starts, [base]]).astype(np.int64)
        self._firsts, self._owners = np.concatenate(firsts), np.concatenate(owners)
        self._bases = np.cumsum([0, *(part.count for part in parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return len(self._firsts)

    def chunk_of(self, positions: Int64Array) -> Int64Array:
        """Return which chunk holds each position."""
        return np.searchsorted(self._starts, positions, side="right") - 1

    def start(self, chunk: int) -> int:
        """Return the first position of a chunk (of the one behind the last: the length)."""
        return int(self._starts[chunk])

    @cached_property
    def peaks(self) -> Int64Array:
        """The latest time (ns) of all ticks before each chunk, and of all; int64's minimum before the first."""
        ranges = [TickRange(part.origin, part.symbol, 0, part.count, True) for part in self.parts]
        own = self._store.ranges.peaks(self._source, ranges, self._chunk_ticks)
        return np.maximum.accumulate(np.concatenate([[_NEVER], *own]))

    def numbers(self, chunk: int) -> tuple[Int64Array, Float64Array, Float64Array]:
        """Return times, prices and volumes of a chunk."""
        found = self._kept.get((self.symbol, chunk))
        return found if found is not None else next(self._read([chunk]))[1]

    def block(self, chunk: int) -> TickBlock:
        """Return a chunk as the bar kernel takes it."""
        return tick_block(self.symbol, self.start(chunk), *self.numbers(chunk))

    def blocks(self) -> Iterator[TickBlock]:
        """Yield all chunks in order; none of them is kept."""
        for first in range(0, self.chunks, RUN_CHUNKS):
            chunks = list(range(first, min(first + RUN_CHUNKS, self.chunks)))
            for chunk, numbers in self._fetch(chunks):
                yield tick_block(self.symbol, self.start(chunk), *numbers)

    def load(self, chunks: Sequence[int]) -> None:
        """Read those of the chunks (ascending) that are not kept, neighbours in one query."""
        lacking = [chunk for chunk in chunks if self._kept.get((self.symbol, chunk)) is None]
        runs = groupby(enumerate(lacking), key=lambda pair: pair[1] - pair[0])
        for _, run in runs:
            own = [chunk for _, chunk in run]
            for first in range(0, len(own), RUN_CHUNKS):
                for _ in self._read(own[first : first + RUN_CHUNKS]):
                    pass

    def _read(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        for chunk, numbers in self._fetch(chunks):
            self._kept.put((self.symbol, chunk), numbers, sum(column.nbytes for column in numbers))
            yield chunk, numbers

    def _fetch(self, chunks: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield (chunk, numbers) of consecutive chunks."""
        table = self._columns(chunks, _NUMBERS)
        columns = [table.column(name).to_numpy() for name in _NUMBERS]
        base = self.start(chunks[0])
        for chunk in chunks:
            rows = slice(self.start(chunk) - base, self.start(chunk + 1) - base)
            # A copy where a chunk is a part of what was read: keeping it must not keep the rest.
            yield chunk, tuple(column[rows].copy() if len(chunks) > 1 else column[rows] for column in columns)

    def _columns(self, chunks: Sequence[int], names: Sequence[str]) -> Any:
        ranges = self.ranges(self.start(chunks[0]), self.start(chunks[-1] + 1))
        return self._store.ranges.columns(self._source, ranges, names)

    def ranges(self, first: int, last: int) -> list[TickRange]:
        """Return the store's ranges of positions first…last−1."""
        found = []
        for number in range(int(np.searchsorted(self._bases, first, side="right")) - 1, len(self.parts)):
            part, base = self.parts[number], int(self._bases[number])
            low, high = max(first - base, 0), min(last - base, part.count)
            if base >= last:
                break
            if low < high:
                found.append(TickRange(part.origin, part.symbol, low, high, high - low == part.count))
        return found

    def column(self, name: str, positions: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks; those near each other are read at once."""
        owners = self.chunk_of(positions)
        wanted = np.unique(owners)
        if name in _NUMBERS:
            place = _NUMBERS.index(name)
            read: Callable[[int], Any] = lambda chunk: self.numbers(chunk)[place]  # noqa: E731
        else:
            read = lambda chunk: self._texts(name, chunk)  # noqa: E731
        parts = []
        for first in range(0, len(wanted), RUN_CHUNKS):
            if name in _NUMBERS:
                self.load(wanted[first : first + RUN_CHUNKS].tolist())
            for chunk in wanted[first : first + RUN_CHUNKS].tolist():
                rows = np.flatnonzero(owners == chunk)
                parts.append((rows, read(chunk)[positions[rows] - self.start(chunk)]))
        out = np.empty(len(positions), np.result_type(*(part.dtype for _, part in parts)) if parts else np.float64)
        for rows, values in parts:
            out[rows] = values
        return out

    def _texts(self, name: str, chunk: int) -> npt.NDArray[Any]:
        found = self._kept.get((self.symbol, chunk, name))
        if found is None:
            found = self._columns([chunk], [name]).column(name).to_numpy()
            self._kept.put((self.symbol, chunk, name), found, 64 * len(found))
        return found

    def packet(self, position: int) -> dict[str, Any]:
        """Return one tick as users know it; its neighbours are read with it."""
        chunk = int(self.chunk_of(np.array([position]))[0])
        first = int(self._firsts[chunk]) + position - self.start(chunk)
        bucket = first // BUCKET_TICKS
        key = (self.symbol, int(self._owners[chunk]), "packets", bucket)
        block = self._kept.get(key)
        if block is None:
            part = self.parts[self._owners[chunk]]
            low, high = bucket * BUCKET_TICKS, (bucket + 1) * BUCKET_TICKS
            block = self._store.window(self._source, part.symbol, low, high, part.origin)
            self._kept.put(key, block, 200 * BUCKET_TICKS)
        return block.packet(first - block.first_index)
