"""Equal samples: how often a part repeats itself, and how much of the test part was trained on, to the bit.

A sample is known by 63 bits of a hash of the bytes of all its features, eight bytes of memory each; a million samples
meet a false pair with a chance of 1 in 18 million.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

#: Beyond this many samples their hashes are in a temporary file.
IN_MEMORY = 8_000_000

Hashes = npt.NDArray[np.uint64]


class DuplicateSamples(msgspec.Struct, frozen=True):
    """Samples that repeat an earlier one of their part, and test samples that a training sample is equal to."""

    train: int
    test: int
    across: int


@contextmanager
def hashes(samples: int) -> Iterator[Hashes]:
    """Give room for the hashes of samples, all of them unhashed, for the time of a block."""
    if samples <= IN_MEMORY:
        yield np.zeros(samples, np.uint64)
        return
    with tempfile.TemporaryFile() as file:
        yield np.memmap(file, np.uint64, "w+", shape=(samples,))


def add_feature(into: Hashes, values: npt.NDArray[Any]) -> None:
    """Hash one more feature (samples, …) of some samples into theirs."""
    if values.size:
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        _mix(into, flat.view(np.uint8))


def count_duplicates(found: Hashes, train: int) -> DuplicateSamples:
    """Count equal samples; the first `train` are those of the training part. Sorts the hashes."""
    found >>= np.uint64(1)
    found <<= np.uint64(1)
    found[train:] |= np.uint64(1)
    found.sort()
    within_train, within_test, across = _count(found)
    return DuplicateSamples(int(within_train), int(within_test), int(across))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _mix(into, data):  # type: ignore[no-untyped-def]
    """MurmurHash64A's steps (Appleby, 2008) over words of eight bytes, from the hash so far."""
    m = np.uint64(0xC6A4A7935BD1E995)
    for i in range(data.shape[0]):
        h = into[i] ^ (np.uint64(data.shape[1]) * m)
        for start in range(0, data.shape[1], 8):
            k = np.uint64(0)
            for at in range(start, min(start + 8, data.shape[1])):
                k |= np.uint64(data[i, at]) << np.uint64(8 * (at - start))
            k *= m
            k ^= k >> np.uint64(47)
            h = (h ^ (k * m)) * m
        h ^= h >> np.uint64(47)
        h *= m
        into[i] = h ^ (h >> np.uint64(47))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _count(ordered):  # type: ignore[no-untyped-def]
    within_train, within_test, across = 0, 0, 0
    start = 0
    while start < len(ordered):
        key = ordered[start] >> np.uint64(1)
        stop = start
        tests = 0
        while stop < len(ordered) and ordered[stop] >> np.uint64(1) == key:
            tests += 1 if ordered[stop] & np.uint64(1) else 0
            stop += 1
        trains = stop - start - tests
        within_train += max(0, trains - 1)
        within_test += max(0, tests - 1)
        if trains:
            across += tests
        start = stop
    return within_train, within_test, across
