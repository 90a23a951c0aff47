"""Chunks: the files that feature workers write, one a stretch of a symbol's ticks, and how each was made.

A chunk holds the samples of its stretch, and of each feature the indices that it kept. So a later build can tell which
of its samples it knows already (see `lit.processors.memory`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import msgspec
import numpy as np
import numpy.typing as npt

from lit.features.layout import Layout, Segment
from lit.processors.disk import Output
from lit.processors.job import CHUNK_TICKS, FrozenJob
from lit.streams.tick import Int64Array

if TYPE_CHECKING:
    from lit.features.engine import Samples

#: Values that wait for being written: h5py is slow with a few rows at a time, and memory is bounded.
BUFFER_BYTES = 16 * 1024 * 1024
_HDF_CHUNK_BYTES = 1024 * 1024


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


@dataclass(frozen=True)
class BuildJob:
    """What a feature worker of a build needs to know.

    Parameters
    ----------
    bootstrap, app_id, topic
        Kafka, the consumer group that shares the work, the ticks.
    frozen
        What is computed.
    folder, before
        Where chunks go, and where those of earlier builds are.
    put_aside
        File that samples with failing scripts go to.
    """

    bootstrap: str
    app_id: str
    topic: str
    frozen: FrozenJob
    folder: Path
    before: Path
    put_aside: Path

    @property
    def state(self) -> Path:
        """Where earlier builds left what this one may begin with."""
        return self.folder.with_name("state")

    @property
    def after(self) -> Path:
        """Where this build leaves that for later ones."""
        return self.folder.with_name("after")

    @property
    def layout(self) -> Layout:
        """Whose ticks the dataset's are."""
        return Layout(Segment(symbol, count) for symbol, count in self.frozen.segments)

    def plans(self) -> list[ChunkPlan]:
        """Return the chunks that make the dataset."""
        return plan_chunks(self.layout, self.frozen.chunk_ticks)

    def path(self, plan: ChunkPlan) -> Path:
        """Return a chunk's file."""
        return plan.path(self.folder, self.frozen.schema.name)


class ChunkRecord(msgspec.Struct, frozen=True):
    """How a chunk was made: its attribute `made`.

    Parameters
    ----------
    stages
        (feature, key) in computing order.
    sequence
        (origin, ticks) of the symbol's stretches that had been read when it was done: no later tick had a say.
    certain
        Samples below this index were done before the end of the sequence was known: more ticks change nothing in them.
    quarantined
        How many samples were put aside because a script failed.
    """

    symbol: str
    first: int
    stop: int
    resolution: int
    dtype: str
    stages: list[tuple[str, str]]
    sequence: list[tuple[str, int]]
    certain: int
    quarantined: int = 0
    samples: int = 0

    def usable(self, job: FrozenJob) -> bool:
        """Whether its samples below `certain` say something about a job's: the same ticks, tried at the same places."""
        begins = job.sequence(self.symbol)[: len(self.sequence)]
        careful = job.on_error == "stop" and self.quarantined
        return self.resolution == job.schema.resolution and begins == self.sequence and not careful

    def same(self, job: FrozenJob) -> bool:
        """Whether a job would make this very chunk."""
        whole = self.certain >= self.stop or self.sequence == job.sequence(self.symbol)
        return self.usable(job) and whole and self.dtype == job.chunk_dtype and self.stages == job.stages()


def read_record(path: Path) -> ChunkRecord | None:
    """Return how a chunk was made, or None if the file is not (or no longer) a chunk."""
    try:
        with h5py.File(path) as file:
            return msgspec.json.decode(file.attrs["made"], type=ChunkRecord)
    except (OSError, KeyError, msgspec.MsgspecError):
        return None


def sort_out(job: BuildJob) -> list[ChunkPlan]:
    """Keep the chunks that a job would make the same, set others aside as its memory; return what is missing."""
    job.before.mkdir(parents=True, exist_ok=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    planned = {job.path(plan): plan for plan in job.plans()}
    for path in job.folder.iterdir():
        record = read_record(path) if path in planned else None
        if record is None:
            path.unlink()
        elif not record.same(job.frozen):
            path.replace(job.before / path.name)
    return [plan for path, plan in planned.items() if not path.exists()]


class ChunkWriter:
    """Writes one chunk as its samples come; the file is there whole, or not at all.

    Parameters
    ----------
    path
        The chunk's file.
    dtype
        Type of the values.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self.path = path
        self.samples = 0
        self._dtype = dtype
        self._output: Output | None = None
        self._waiting: list[tuple[Samples, Int64Array]] = []
        self._bytes = 0

    def carry(self, path: Path, below: int) -> dict[str, Int64Array]:
        """Take over the samples of another chunk whose positions are below one; returns what each feature kept."""
        output = self._open()
        with h5py.File(path) as file:
            count = int(np.searchsorted(file["position"][:], below)) if "position" in file else 0
            self.samples += count
            names = ["index", "position", "timestamp", *(f"features/{name}" for name in file.get("features", ()))]
            rows = 4096
            for start in range(0, count, rows):
                for name in names:
                    _append(output.file, name, file[name][start : min(start + rows, count)])
            kept = {name: index[:] for name, index in file["kept"].items()}
        output.check()
        return {name: index[index < below] for name, index in kept.items()}

    def append(self, samples: Samples, index: Int64Array) -> None:
        """Add samples; `index` are their places in the dataset."""
        self._waiting.append((samples, index))
        self._bytes += sum(values.nbytes for values in samples.values.values())
        self.samples += len(samples)
        if self._bytes > BUFFER_BYTES:
            self._flush()

    def finish(self, record: ChunkRecord, kept: Mapping[str, Int64Array]) -> None:
        """Complete the file with how it was made and the indices that each feature kept."""
        self._flush()
        output = self._open()
        for name, index in kept.items():
            packed = {"compression": "gzip", "shuffle": True} if len(index) else {}
            output.file.create_dataset(f"kept/{name}", data=index, **packed)
        output.file.attrs["made"] = msgspec.json.encode(record).decode()
        output.commit()

    def abandon(self) -> None:
        """Drop what was written of an unfinished chunk."""
        if self._output is not None:
            self._output.abandon()

    def _open(self) -> Output:
        if self._output is None:
            self._output = Output(self.path, self.path.with_suffix(f".{os.getpid()}.part"))
        return self._output

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting = [samples for samples, _ in self._waiting]
        parts = waiting[0].concat(waiting)
        index = np.concatenate([index for _, index in self._waiting])
        self._waiting.clear()
        self._bytes = 0
        output = self._open()
        _append(output.file, "index", index)
        _append(output.file, "position", parts.index)
        _append(output.file, "timestamp", parts.timestamp)
        for name, values in parts.values.items():
            _append(output.file, f"features/{name}", values.astype(self._dtype))
        output.check()


def _append(file: h5py.File, name: str, values: npt.NDArray[Any]) -> None:
    if name not in file:
        rows = max(1, _HDF_CHUNK_BYTES // max(1, values[:1].nbytes))
        file.create_dataset(
            name, data=values, maxshape=(None, *values.shape[1:]), chunks=(min(rows, 16_384), *values.shape[1:])
        )
        return
    data = file[name]
    data.resize(len(data) + len(values), axis=0)
    data[len(data) - len(values) :] = values
