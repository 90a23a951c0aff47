"""Exact order statistics of columns too large for memory, by radix selection: three passes, a few MB a column.

A float's bits, with the sign bit flipped (or all bits, below zero), sort as unsigned integers do (Herf, Radix Tricks,
2001). The first pass counts the values by the leading 11 bits of that key, which says in which of 2,048 buckets each
wanted rank lies; the second and third pass count within those buckets alone, by the next bits. That is all of a
float32, so its order statistics are exact. Of a float64 31 bits stay open and count as zero: an order statistic is then
at most 1 part in 2^21 (5e-7) too near to zero.

Counts do not depend on how the values are cut into chunks. NaN and infinity are not counted here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

_DIGIT = 11
_BUCKETS = 1 << _DIGIT

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Selection:
    """Finds the values at given ranks of each of some columns, in three passes over chunks (values, columns).

    Parameters
    ----------
    columns
        How many.
    dtype
        float32 or float64: of the chunks.
    """

    def __init__(self, columns: int, dtype: npt.DTypeLike) -> None:
        self._unsigned = np.uint32 if np.dtype(dtype) == np.float32 else np.uint64
        bits = np.dtype(dtype).itemsize * 8
        self._shifts = (bits - _DIGIT, bits - 2 * _DIGIT, max(0, bits - 3 * _DIGIT))
        self._columns = columns
        self._pass = 0
        self._maps: list[npt.NDArray[np.int16]] = []
        self._prefixes: list[npt.NDArray[np.uint64]] = [np.zeros(1, np.uint64) for _ in range(columns)]
        self._ranks: list[Ints] = []
        self._slots: list[Ints] = []
        self._counts = np.zeros((columns, 1, _BUCKETS), np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count a chunk (values, columns), C-contiguous, in the present pass."""
        bits = values.view(self._unsigned)
        none = np.empty((0, 0, 0), np.int16)
        first, second = [*self._maps, none, none][:2]
        _count(bits, values, self._pass, *self._shifts, first, second, self._counts)

    def counted(self) -> Ints:
        """Return how many finite values each column had; after the first pass."""
        return self._counts.sum(axis=(1, 2))

    def end_pass(self, ranks: list[Ints] | None = None) -> None:
        """End a pass; the first one is told which ranks (from 0, ascending) of each column are wanted."""
        if ranks is not None:
            self._ranks, self._slots = ranks, [np.zeros(len(own), np.int64) for own in ranks]
        digits = [self._descend(column) for column in range(self._columns)]
        self._pass += 1
        if self._pass == 3:
            return
        slots = max((len(own) for own in self._prefixes), default=0) or 1
        table = np.full((self._columns, self._counts.shape[1], _BUCKETS), -1, np.int16)
        for column, (before, digit) in enumerate(digits):
            table[column, before, digit] = self._slots[column]
        self._maps.append(table)
        self._counts = np.zeros((self._columns, slots, _BUCKETS), np.int64)

    def values(self) -> list[Floats]:
        """Return the values at the ranks, for each column; after the third pass."""
        return [self._value(keys[slots]) for keys, slots in zip(self._prefixes, self._slots, strict=True)]

    def _descend(self, column: int) -> tuple[Ints, Ints]:
        """Find in which bucket of its slot each rank lies; return slots and buckets, and number them as new slots."""
        counts, slots, ranks = self._counts[column], self._slots[column], self._ranks[column]
        upto = np.cumsum(counts, axis=1)
        digits = np.array([np.searchsorted(upto[s], r, side="right") for s, r in zip(slots, ranks, strict=True)], int)
        if len(ranks):
            self._ranks[column] = ranks - (upto[slots, digits] - counts[slots, digits])
        width = np.uint64(_DIGIT if self._pass < 2 else self._last_width())
        keys = (self._prefixes[column][slots] << width) | digits.astype(np.uint64)
        self._prefixes[column], self._slots[column] = np.unique(keys, return_inverse=True)
        return slots, digits

    def _last_width(self) -> int:
        return self._shifts[1] - self._shifts[2]

    def _value(self, keys: npt.NDArray[np.uint64]) -> Floats:
        bits = np.uint64(np.dtype(self._unsigned).itemsize * 8)
        top, rest = np.uint64(1) << (bits - np.uint64(1)), np.uint64(self._shifts[2])
        whole = keys << rest
        negative = whole < top
        below = (np.uint64(1) << rest) - np.uint64(1)  # the end of a bucket below zero is the one nearer to zero
        everything = np.uint64(2**32 - 1) if self._unsigned is np.uint32 else np.uint64(2**64 - 1)
        raw = np.where(negative, ~(whole | below) & everything, whole ^ top).astype(self._unsigned)
        return raw.view(np.float32 if self._unsigned is np.uint32 else np.float64).astype(np.float64)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _count(bits, values, level, shift1, shift2, shift3, first, second, counts):  # type: ignore[no-untyped-def]
    size = bits.itemsize * 8
    top = np.uint64(1) << np.uint64(size - 1)
    everything = ~np.uint64(0) if size == 64 else np.uint64(0xFFFFFFFF)
    last = (np.uint64(1) << np.uint64(shift2 - shift3)) - np.uint64(1)
    for i in range(bits.shape[0]):
        for c in range(bits.shape[1]):
            if not np.isfinite(values[i, c]):
                continue
            raw = np.uint64(bits[i, c])
            key = (raw ^ everything) if raw & top and raw != top else raw | top  # minus zero counts as zero
            slot = 0
            digit = np.int64(key >> np.uint64(shift1))
            if level > 0:
                slot = first[c, 0, digit]
                if slot < 0:
                    continue
                digit = np.int64((key >> np.uint64(shift2)) & np.uint64(2047))
            if level > 1:
                slot = second[c, slot, digit]
                if slot < 0:
                    continue
                digit = np.int64((key >> np.uint64(shift3)) & last)
            counts[c, slot, digit] += 1
