"""Compressed datasets read by several threads: HDF5 hands out pieces as they are stored, threads unpack them.

The HDF5 library unpacks under one lock, a piece after the other. Here only fetching a piece is under that lock; gzip
runs outside of it and of Python's, and in a faster implementation (ISA-L).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from isal import igzip_lib, isal_zlib

#: Pieces that a thread unpacks before it takes the next lot.
_LOT = 8
#: Larger pieces are left to HDF5: a few threads with one each must fit in memory.
MAX_PIECE_BYTES = 64 * 1024 * 1024
_DAMAGED: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says it is an instance
_GZIP = [h5py.h5z.FILTER_DEFLATE]
_SHUFFLED = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]

Rows = npt.NDArray[np.int64]


class Pieces:
    """Reads rows of one dataset.

    Parameters
    ----------
    data
        A dataset that `can_unpack` says yes to.
    """

    def __init__(self, data: h5py.Dataset) -> None:
        self._data = data
        self._rows = int(data.chunks[0])
        self._shuffled = _filters(data) == _SHUFFLED
        self._bytes = _piece_bytes(data)
        self._zeros = (0,) * (data.ndim - 1)

    @staticmethod
    def can_unpack(data: h5py.Dataset) -> bool:
        """Whether a dataset is of whole rows a piece, compressed by gzip and by nothing else."""
        if data.chunks is None or data.chunks[1:] != data.shape[1:] or data.dtype.kind not in "fiu":
            return False
        return _filters(data) in (_GZIP, _SHUFFLED) and _piece_bytes(data) <= MAX_PIECE_BYTES

    def read(self, pool: ThreadPoolExecutor, rows: Rows, places: Rows, out: npt.NDArray[Any]) -> None:
        """Put rows, ascending, at places of `out`.

        Raises
        ------
        OSError
            If a piece is damaged.
        """
        numbers = rows // self._rows
        edges = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1, [len(rows)]]).tolist()
        spans = list(pairwise(edges)) if len(rows) else []

        def unpack(lot: list[tuple[int, int]]) -> None:
            for first, last in lot:
                piece = int(numbers[first])
                out[places[first:last]] = self._piece(piece)[rows[first:last] - piece * self._rows]

        for _ in pool.map(unpack, _lots(spans)):
            pass

    def _piece(self, number: int) -> npt.NDArray[Any]:
        start, shape = number * self._rows, (self._rows, *self._data.shape[1:])
        if self._data.id.get_chunk_info_by_coord((start, *self._zeros)).byte_offset is None:
            return self._data[start : start + self._rows]  # never written: all of the fill value
        skipped, stored = self._data.id.read_direct_chunk((start, *self._zeros))
        if skipped:
            return self._data[start : start + self._rows]
        try:
            raw = isal_zlib.decompressobj().decompress(stored, self._bytes + 1)  # no more than fits, whatever it claims
            if self._shuffled:
                raw = np.frombuffer(raw, np.uint8).reshape(self._data.dtype.itemsize, -1).T.tobytes()
            return np.frombuffer(raw, self._data.dtype).reshape(shape)
        except (_DAMAGED, ValueError) as error:
            raise OSError(f"a piece of {self._data.name} does not unpack: {error}") from error


def _piece_bytes(data: h5py.Dataset) -> int:
    return data.dtype.itemsize * math.prod(data.chunks)


def _filters(data: h5py.Dataset) -> list[int]:
    plist = data.id.get_create_plist()
    return [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]


def _lots(spans: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(spans), _LOT):
        yield spans[start : start + _LOT]
