"""The merge: chunks in the dataset's order into an asset's `train.h5` and `test.h5`, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lit.features.content import content_digest
from lit.features.schema import Schema
from lit.processors.disk import Output
from lit.streams.filelock import locked

PARTS = ("train", "test")
_TEXT = h5py.string_dtype("utf-8")
#: Bytes of one feature moved at once.
_MOVED_BYTES = 16 * 1024 * 1024
#: A training reads single samples at random: few of them share a piece of the file that is read as a whole.
_PIECE_BYTES = 64 * 1024
_PIECE_ROWS = 1024

Mask = npt.NDArray[np.bool_]


def merge_chunks(
    chunks: Sequence[tuple[str, Path]],
    targets: Mapping[str, Path],
    schema: Schema,
    columns: Mapping[str, Sequence[str]],
    snapshot: Mapping[str, Any],
    lock: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """Write `train` and `test` files from chunks in the dataset's order.

    Parameters
    ----------
    chunks
        (symbol, file), in the dataset's order.
    targets
        `train` and `test` → file to write.
    schema
        Says what goes to test, and how values are stored.
    columns
        Feature → column names, in the schema's order; empty: numbered.
    snapshot
        Kept in each file as JSON.
    lock
        File that is locked while both take their names: who locks it too sees both of one build.

    Returns
    -------
    dict
        `train` and `test` → {"samples": count, "digest": "sha256:…"} of the content.
    """
    counts = _counts(chunks, schema)
    outputs = {part: Output(path, path.with_suffix(".part")) for part, path in targets.items()}
    summary: dict[str, dict[str, Any]] = {}
    try:
        if any(counts.values()):
            _copy(chunks, outputs, counts, schema, list(columns))
        for part, output in outputs.items():
            file = output.file
            for name, names in columns.items():
                if name in file:
                    named = list(names) or [f"{name}_{number}" for number in range(file[name].shape[-1])]
                    file[name].attrs["columns"] = np.array(named, dtype=_TEXT)
            file.attrs["schema"] = json.dumps(snapshot)
            file.flush()
            output.check()
            digest = content_digest(file)
            file.attrs["digest"] = digest
            summary[part] = {"samples": counts[part], "digest": digest}
        with locked(lock) if lock else nullcontext():
            for output in outputs.values():
                output.commit()
    finally:
        for output in outputs.values():
            output.abandon()
    return summary


def _masks(chunks: Sequence[tuple[str, Path]], schema: Schema, total: int) -> Iterator[tuple[str, h5py.File, Mask]]:
    """Yield (symbol, open chunk, which of its samples go to test)."""
    seen = 0
    for symbol, path in chunks:
        with h5py.File(path) as chunk:
            if "index" in chunk:
                index, stamps = chunk["index"][:], chunk["timestamp"][:]
                yield symbol, chunk, schema.split.is_test(index, stamps, seen, total)
                seen += len(index)


def _counts(chunks: Sequence[tuple[str, Path]], schema: Schema) -> dict[str, int]:
    total = sum(len(mask) for _, _, mask in _masks(chunks, schema, 0))
    test = sum(int(mask.sum()) for _, _, mask in _masks(chunks, schema, total))
    return {"train": total - test, "test": test}


def _copy(
    chunks: Sequence[tuple[str, Path]],
    outputs: Mapping[str, Output],
    counts: Mapping[str, int],
    schema: Schema,
    names: list[str],
) -> None:
    at = dict.fromkeys(outputs, 0)
    for symbol, chunk, is_test in _masks(chunks, schema, sum(counts.values())):
        for part, output in outputs.items():
            file = output.file
            wanted = is_test if part == "test" else ~is_test
            count = int(wanted.sum())
            for name in ("index", "timestamp"):
                _put(file, name, at[part], counts[part], chunk[name], wanted, chunk[name].dtype, schema)
            _symbols(file, at[part], counts[part], symbol, count)
            for name in names:
                _put(file, name, at[part], counts[part], chunk[f"features/{name}"], wanted, schema.dtype, schema)
            at[part] += count
            output.check()


def _put(
    file: h5py.File, name: str, at: int, total: int, source: h5py.Dataset, wanted: Mask, dtype: Any, schema: Schema
) -> None:
    """Copy the wanted rows of a chunk's dataset behind row `at`, a few megabytes at a time."""
    if name not in file:
        _create(file, name, (total, *source.shape[1:]), dtype, schema)
    target = file[name]
    rows = max(1, _MOVED_BYTES // max(1, source.dtype.itemsize * int(np.prod(source.shape[1:], dtype=np.int64))))
    for start in range(0, len(source), rows):
        mask = wanted[start : start + rows]
        count = int(mask.sum())
        if count:
            values = source[start : start + rows]
            target[at : at + count] = values if count == len(values) else values[mask]
            at += count


def _create(file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, schema: Schema) -> None:
    a_row = np.dtype(dtype).itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = schema.chunk_rows or max(1, min(_PIECE_ROWS, _PIECE_BYTES // max(1, a_row)))
    options: dict[str, Any] = {}
    if schema.compression != "none":
        options = {"compression": schema.compression, "shuffle": True}
    piece = (max(1, min(rows, shape[0])), *shape[1:])
    file.create_dataset(
        name, shape=shape, maxshape=(None, *shape[1:]), dtype=dtype, chunks=piece, track_times=False, **options
    )


def _symbols(file: h5py.File, at: int, total: int, symbol: str, count: int) -> None:
    if "symbol" not in file:
        file.create_dataset(
            "symbol", shape=(total,), maxshape=(None,), dtype=_TEXT, chunks=(max(1, min(_PIECE_ROWS, total)),)
        )
    if count:
        file["symbol"][at : at + count] = np.full(count, symbol, dtype=object)
