"""Where a symbol's next build can begin: what its window held when its last tick had been read.

Files that follow then need no tick of those before them to be read again, as long as nothing but files was added.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pyarrow as pa

from lit.features.bars import Bars, BarState
from lit.features.intervals import Interval
from lit.features.window import KEPT_TICKS, SymbolWindow
from lit.processors.chunks import BuildJob, ChunkPlan, read_record
from lit.processors.disk import Output
from lit.streams.tick import TickBlock


class Point(msgspec.Struct, frozen=True):
    """A resume point's attribute `made`.

    Parameters
    ----------
    sequence
        (origin, ticks) of what had been read.
    stages
        (feature, key) in computing order: what their reads need is kept.
    settled
        Samples below were done.
    next_index
        The tick awaited next.
    states
        Interval → state of its bar builder.
    """

    symbol: str
    sequence: list[tuple[str, int]]
    stages: list[tuple[str, str]]
    settled: int
    next_index: int
    states: dict[str, BarState]


def point_path(folder: Path, symbol: str) -> Path:
    """Return a symbol's file; symbols may have characters that file names may not."""
    return folder / f"{hashlib.sha256(symbol.encode()).hexdigest()[:24]}.h5"


def save_point(job: BuildJob, window: SymbolWindow, settled: int) -> None:
    """Write a symbol's resume point for the builds after this one."""
    frozen = job.frozen
    path = point_path(job.after, window.symbol)
    output = Output(path, path.with_suffix(".part"))
    try:
        states = {}
        for interval in window.intervals:
            own = window.bars_of(interval)
            states[str(interval)] = own.state
            for one in fields(Bars):
                output.file[f"bars/{interval}/{one.name}"] = getattr(own.bars, one.name)
        blocks = window.blocks(max(settled - KEPT_TICKS, window.oldest_kept), window.next_index)
        sink = pa.BufferOutputStream()
        for block in blocks:
            with pa.ipc.new_stream(sink, block.batch.schema) as writer:
                writer.write_batch(block.batch)
        output.file["ticks"] = np.frombuffer(sink.getvalue(), np.uint8)
        output.file.attrs["first"] = blocks[0].first_index if blocks else window.next_index
        sequence = frozen.sequence(window.symbol)
        made = Point(window.symbol, sequence, frozen.stages(), settled, window.next_index, states)
        output.file.attrs["made"] = msgspec.json.encode(made).decode()
        output.commit()
    finally:
        output.abandon()


def usable_point(job: BuildJob, symbol: str, missing: list[ChunkPlan]) -> Point | None:
    """Return a symbol's resume point if a build that lacks these chunks can begin there.

    So it can where the files before are the same and all samples below the point are in chunks, whole or in part.
    """
    try:
        with h5py.File(point_path(job.state, symbol)) as file:
            point = msgspec.json.decode(file.attrs["made"], type=Point)
    except (OSError, KeyError, msgspec.MsgspecError):
        return None
    begins = job.frozen.sequence(symbol)[: len(point.sequence)]
    grown = len(job.frozen.sequence(symbol)) > len(point.sequence)
    if not grown or begins != point.sequence or point.stages != job.frozen.stages():
        return None
    for plan in missing:
        if plan.first < point.settled and carried(job, plan) < min(plan.stop, point.settled):
            return None
    return point


def carried(job: BuildJob, plan: ChunkPlan) -> int:
    """Return up to which index an earlier build's chunk already has a missing chunk's samples, as they will be."""
    record = read_record(plan.path(job.before, job.frozen.schema.name))
    same = record and record.usable(job.frozen) and record.stages == job.frozen.stages()
    return record.certain if record and same and record.dtype == job.frozen.chunk_dtype else plan.first


def promote_points(job: BuildJob) -> None:
    """Put the points that a build has written in the place of those it began with."""
    job.state.mkdir(parents=True, exist_ok=True)
    for path in job.after.glob("*.h5"):
        path.replace(job.state / path.name)


def load_window(job: BuildJob, point: Point) -> SymbolWindow:
    """Return the window as it was at a resume point."""
    window = SymbolWindow(point.symbol, map(Interval.parse, point.states))
    with h5py.File(point_path(job.state, point.symbol)) as file:
        for name, state in point.states.items():
            bars = Bars(*(file[f"bars/{name}/{one.name}"][:] for one in fields(Bars)))
            window.bars_of(Interval.parse(name)).restore(bars, state)
        source, at = pa.BufferReader(file["ticks"][:].tobytes()), int(file.attrs["first"])
    while at < point.next_index:
        with pa.ipc.open_stream(source) as reader:
            for batch in reader:
                window.keep(TickBlock(point.symbol, at, batch))
                at += batch.num_rows
    return window
