"""What earlier chunks know: features that answer from a chunk where they can, and compute the rest.

A sample's way through the features is known from a chunk as far as the same features were asked in the same stretch:
what one kept has a value if the sample came through, what it was not asked or what was lost on the way is computed. So
a changed feature computes its own column and no other, and the result is that of a clean build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lit.features.engine import Feature
from lit.features.window import NeedMoreData
from lit.processors.chunks import ChunkPlan, ChunkRecord, read_record
from lit.processors.job import FrozenJob
from lit.streams.tick import Float64Array, Int64Array

_UNKNOWN, _REJECTED, _KNOWN = 0, 1, 2


class ChunkMemory:
    """One feature's samples in one chunk."""

    def __init__(self, path: Path, record: ChunkRecord, feature: str, with_values: bool) -> None:
        self.first, self.stop = record.first, record.certain
        self._path, self._feature = path, feature
        self._with_values = with_values
        self._resolution = record.resolution
        names = [name for name, _ in record.stages]
        self._before = names[names.index(feature) - 1] if names.index(feature) else None
        self._file: h5py.File | None = None
        self._asked: Int64Array | None = None
        self._kept = self._final = np.empty(0, np.int64)

    def states(self, index: Int64Array) -> tuple[npt.NDArray[np.int8], Int64Array]:
        """Return for indices of this chunk what is known, and the rows of values."""
        if self._file is None:
            self._open()
        states = np.zeros(len(index), np.int8)
        rows, found = _rows(self._final, index)
        if self._with_values:
            states[found] = _KNOWN
        asked = np.ones(len(index), bool) if self._asked is None else _rows(self._asked, index)[1]
        states[asked & ~_rows(self._kept, index)[1]] = _REJECTED
        return states, rows

    def values(self, rows: Int64Array) -> Float64Array:
        """Return the values of rows, ascending."""
        assert self._file is not None
        low, high = int(rows[0]), int(rows[-1]) + 1
        stretch: Float64Array = self._file[f"features/{self._feature}"][low:high].astype(np.float64)
        return stretch if len(rows) == high - low else stretch[rows - low]

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._file = h5py.File(self._path)
        self._kept = self._file[f"kept/{self._feature}"][:]
        self._asked = self._file[f"kept/{self._before}"][:] if self._before else None
        self._final = self._file["position"][:] if "position" in self._file else np.empty(0, np.int64)


def _rows(held: Int64Array, index: Int64Array) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    rows = np.searchsorted(held, index)
    found = rows < len(held)
    found[found] = held[rows[found]] == index[found]
    return rows, found


class Remembering:
    """A feature (see `lit.features.engine.Feature`) that asks chunks first.

    Parameters
    ----------
    feature
        What computes the rest.
    chunks
        What is known, in order of the symbol's positions.
    """

    def __init__(self, feature: Feature, chunks: Sequence[ChunkMemory]) -> None:
        self._feature = feature
        self._chunks = list(chunks)
        self.name, self.sort_key, self.batched = feature.name, feature.sort_key, feature.batched
        #: Samples that were computed, and that were answered from chunks.
        self.computed = self.remembered = 0

    def compute(self, adapter: Any, index: int, others: Mapping[str, Float64Array]) -> Float64Array | None:
        """Return the value at `index`, or None: rejected."""
        chunk = self._chunk(index)
        if chunk is not None:
            states, rows = chunk.states(np.array([index], np.int64))
            if states[0] != _UNKNOWN:
                self.remembered += 1
                return None if states[0] == _REJECTED else chunk.values(rows)[0]
        self.computed += 1
        return self._feature.compute(adapter, index, others)

    def compute_batch(
        self, adapter: Any, indices: Int64Array, others: Mapping[str, Float64Array]
    ) -> tuple[npt.NDArray[np.bool_], Float64Array]:
        """Return which samples are kept, and the values of those."""
        states = np.zeros(len(indices), np.int8)
        known: list[Float64Array] = []
        for chunk in self._chunks:
            low, high = np.searchsorted(indices, [chunk.first, chunk.stop])
            if low < high:
                states[low:high], rows = chunk.states(indices[low:high])
                rows = rows[states[low:high] == _KNOWN]
                if len(rows):
                    known.append(chunk.values(rows))
        self._forget(int(indices[0]) if len(indices) else 0)
        unknown = np.flatnonzero(states == _UNKNOWN)
        keep = states == _KNOWN
        fresh = np.empty((0,))
        if len(unknown):
            asked = {name: values[unknown] for name, values in others.items()}
            try:
                kept, fresh = self._feature.compute_batch(adapter, indices[unknown], asked)
            except NeedMoreData as need:
                raise NeedMoreData(int(unknown[min(need.served, len(unknown) - 1)])) from None
            keep[unknown[kept]] = True
        self.computed += len(unknown)
        self.remembered += len(indices) - len(unknown)
        return keep, _woven(keep, states == _KNOWN, known, fresh)

    def _chunk(self, index: int) -> ChunkMemory | None:
        self._forget(index)
        return next((chunk for chunk in self._chunks if chunk.first <= index < chunk.stop), None)

    def _forget(self, index: int) -> None:
        """Close chunks that lie behind."""
        while self._chunks and self._chunks[0].stop <= index:
            self._chunks.pop(0).close()


def _woven(
    keep: npt.NDArray[np.bool_], from_chunks: npt.NDArray[np.bool_], known: list[Float64Array], fresh: Float64Array
) -> Float64Array:
    if not known:
        return fresh
    held = np.concatenate(known)
    if len(held) == keep.sum():
        return held
    values = np.empty((int(keep.sum()), *held.shape[1:]))
    where = from_chunks[keep]
    values[where] = held
    values[~where] = fresh
    return values


def remember(job: FrozenJob, features: Sequence[Feature], plans: Sequence[ChunkPlan], folder: Path) -> list[Feature]:
    """Return a symbol's features such that they use what the chunks of `folder` know of the planned ones."""
    found = [(path, read_record(path)) for plan in plans if (path := plan.path(folder, job.schema.name)).exists()]
    keys = dict(job.stages())
    narrow = job.chunk_dtype == "float32"
    remembering: list[Feature] = []
    for feature in features:
        chunks = [
            ChunkMemory(path, record, feature.name, with_values=narrow or record.dtype == "float64")
            for path, record in found
            if record and record.usable(job) and dict(record.stages).get(feature.name) == keys[feature.name]
        ]
        remembering.append(Remembering(feature, chunks) if chunks else feature)
    return remembering
