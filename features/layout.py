"""Many sequences as one dataset: which symbol's tick an index means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lit.streams.tick import Int64Array


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive ticks of one symbol in a dataset: one symbol of one file."""

    symbol: str
    count: int


class Layout:
    """Maps an index of the dataset to (symbol, position in that symbol's sequence) and back.

    A dataset is its segments one after the other; a symbol's sequence is its segments in that order.
    """

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = tuple(segments)
        counts = np.array([segment.count for segment in self.segments], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._bases = np.zeros(len(counts), np.int64)
        seen: dict[str, int] = {}
        self._symbols = np.array([segment.symbol for segment in self.segments], dtype=object)
        for number, segment in enumerate(self.segments):
            self._bases[number] = seen.get(segment.symbol, 0)
            seen[segment.symbol] = int(self._bases[number]) + segment.count
        self.counts = seen

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, index: int) -> tuple[str, int]:
        """Return the symbol and the position in its sequence.

        Raises
        ------
        IndexError
            If the dataset has no such index.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside 0…{len(self) - 1}")
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.segments[number].symbol, int(index - self._starts[number] + self._bases[number])

    def by_symbol(self, indices: Int64Array) -> list[tuple[str, Int64Array, Int64Array]]:
        """Return (symbol, which of the indices are its, their positions in its sequence), by first appearance.

        Raises
        ------
        IndexError
            If the dataset has no such index.
        """
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise IndexError(f"index {indices[outside][0]} is outside 0…{len(self) - 1}")
        numbers = np.searchsorted(self._starts, indices, side="right") - 1
        positions = indices - self._starts[numbers] + self._bases[numbers]
        symbols = self._symbols[numbers]
        found = []
        for symbol in dict.fromkeys(symbols.tolist()):
            where = np.flatnonzero(symbols == symbol)
            found.append((symbol, where, positions[where]))
        return found

    def pieces(self, first: int, last: int) -> list[tuple[str, int, int]]:
        """Return (symbol, position in its sequence, count) of each segment's share of indices first…last−1."""
        found = []
        for number in range(max(int(np.searchsorted(self._starts, first, side="right")) - 1, 0), len(self.segments)):
            start, segment = int(self._starts[number]), self.segments[number]
            low, high = max(first - start, 0), min(last - start, segment.count)
            if start >= last:
                break
            if low < high:
                found.append((segment.symbol, int(self._bases[number]) + low, high - low))
        return found

    def indices(self, symbol: str, positions: Int64Array) -> Int64Array:
        """Return the dataset's indices of positions within a symbol's sequence."""
        numbers = np.array([n for n, s in enumerate(self.segments) if s.symbol == symbol and s.count], np.int64)
        held = numbers[np.searchsorted(self._bases[numbers], positions, side="right") - 1]
        return positions - self._bases[held] + self._starts[held]
