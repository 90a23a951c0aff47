"""Dataset files: the chunks that feature workers write, and their merge into an asset's train and test files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lit.features.content import content_digest
from lit.features.dataset import Layout
from lit.features.engine import Samples
from lit.streams.errors import FaultError

#: Ticks that a chunk covers at the most.
CHUNK_TICKS = 2_000_000
#: Samples moved at once when chunks are merged.
MERGE_ROWS = 4096
_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """Ticks `first`…`stop` of a symbol's sequence, which are consecutive in the dataset as well."""

    symbol: str
    first: int
    stop: int
    dataset_first: int

    def path(self, folder: Path, schema: str) -> Path:
        """Return the chunk's file, named by the dataset's indices."""
        last = self.dataset_first + self.stop - self.first - 1
        return folder / f"{schema}_{self.dataset_first}_{last}.h5"


def plan_chunks(layout: Layout, size: int = CHUNK_TICKS) -> list[ChunkPlan]:
    """Cut a dataset into chunks, none across a segment; the same for any number of workers."""
    plans, dataset_first, positions = [], 0, dict.fromkeys((s.symbol for s in layout.segments), 0)
    for segment in layout.segments:
        base = positions[segment.symbol]
        for start in range(0, segment.count, size):
            stop = min(start + size, segment.count)
            plans.append(ChunkPlan(segment.symbol, base + start, base + stop, dataset_first + start))
        positions[segment.symbol] = base + segment.count
        dataset_first += segment.count
    return plans


def write_chunk(path: Path, samples: Samples, index: npt.NDArray[np.int64], dtype: str = "float32") -> None:
    """Write a chunk whole or not at all; `index` are the samples' places in the dataset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        with h5py.File(part, "w") as file:
            file["index"] = index
            file["timestamp"] = samples.timestamp
            file.attrs["symbol"] = samples.symbol
            for name, values in samples.values.items():
                file.create_dataset(f"features/{name}", data=values.astype(dtype))
        part.replace(path)
    except OSError as error:
        raise FaultError(f"could not write {path}: {error}. Free space or mend the folder, then resume") from error
    finally:
        part.unlink(missing_ok=True)


def merge_chunks(
    chunks: Sequence[Path],
    targets: Mapping[str, Path],
    is_test: npt.NDArray[np.bool_],
    columns: Mapping[str, Sequence[str]],
    schema: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Write `train` and `test` files from chunks in the dataset's order.

    Parameters
    ----------
    chunks
        Chunk files in the dataset's order.
    targets
        `train` and `test` → file to write.
    is_test
        bool (samples,): which of all samples go to test.
    columns
        Feature → column names, in the schema's order.
    schema
        Snapshot kept in each file.

    Returns
    -------
    dict
        `train` and `test` → {"samples": count, "digest": "sha256:…"} of the content.
    """
    summary = {}
    for part, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        wanted = is_test if part == "test" else ~is_test
        with h5py.File(temporary, "w") as file:
            _append_all(file, chunks, wanted, list(columns))
            for name, names in columns.items():
                if name in file:
                    file[name].attrs["columns"] = np.array(list(names), dtype=_TEXT)
            file.attrs["schema"] = json.dumps(schema)
            digest = content_digest(file)
            file.attrs["digest"] = digest
            summary[part] = {"samples": int(wanted.sum()), "digest": digest}
        temporary.replace(path)
    return summary


def read_index(chunks: Sequence[Path]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return dataset index and timestamp of all samples, in the chunks' order."""
    parts = []
    for path in chunks:
        with h5py.File(path) as file:
            parts.append((file["index"][:], file["timestamp"][:]))
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *(p[0] for p in parts)]), np.concatenate([empty, *(p[1] for p in parts)])


def _append_all(file: h5py.File, chunks: Sequence[Path], wanted: npt.NDArray[np.bool_], names: list[str]) -> None:
    seen = 0
    for path in chunks:
        with h5py.File(path) as chunk:
            count = len(chunk["index"])
            keep = wanted[seen : seen + count]
            seen += count
            for rows in _slices(count):
                mask = keep[rows]
                if mask.any():
                    symbols = np.array([chunk.attrs["symbol"]] * int(mask.sum()), dtype=object)
                    _append(file, "index", chunk["index"][rows][mask])
                    _append(file, "timestamp", chunk["timestamp"][rows][mask])
                    _append(file, "symbol", symbols, _TEXT)
                    for name in names:
                        _append(file, name, chunk[f"features/{name}"][rows][mask])


def _slices(count: int) -> Iterator[slice]:
    for start in range(0, count, MERGE_ROWS):
        yield slice(start, min(start + MERGE_ROWS, count))


def _append(file: h5py.File, name: str, values: npt.NDArray[Any], dtype: Any = None) -> None:
    if name not in file:
        # small chunks: a training reads single samples at random
        rows = max(1, min(1024, 65_536 // max(1, values[:1].nbytes)))
        file.create_dataset(
            name,
            shape=(0, *values.shape[1:]),
            maxshape=(None, *values.shape[1:]),
            chunks=(rows, *values.shape[1:]),
            dtype=dtype or values.dtype,
        )
    data = file[name]
    data.resize(len(data) + len(values), axis=0)
    data[len(data) - len(values) :] = values
