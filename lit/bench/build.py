"""Cached ticks → Kafka → feature workers → HDF5, against a plain Polars and NumPy script that makes the same arrays.

Both begin with ticks on disk (a topic, a Parquet file) and end with `train.h5`; each runs in a process of its own.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lit.bench.reference import dataset_of
from lit.features.library import save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.streams import topics
from lit.streams.cache import CachedFile, origin_of
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.ingest import verified
from lit.streams.replay import BLOCK_TICKS, ReplayProgress, blocks, plan_files
from lit.streams.sources import load_adapter
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace

LONG, SHORT = "long", "short"
ADAPTER, SCHEMA = "refinitiv", "walkthrough"
#: The schema of the walkthrough: a sample a minute, 100 minute bars, a 100-long ATR, a label.
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "per_minute": ("per_unit", {"unit": "minute"}),
    "bars": ("unit_bar", {"count": 100, "size": 1, "unit": "minute"}),
    "atr": ("atr", {"count": 100, "rate": 14, "size": 1, "unit": "minute"}),
    "up": ("atr_up", {"rate": 14, "size": 1, "unit": "minute"}),
}
_WEEK_NS = 7 * 86_400 * 1_000_000_000


class Built(msgspec.Struct):
    """Ticks, samples, seconds, those of processors (the broker's excepted), and a process' largest memory in bytes."""

    ticks: int
    samples: int
    seconds: float
    memory: int
    cpu: float

    @property
    def rate(self) -> float:
        """Ticks a second."""
        return self.ticks / self.seconds


def sample_tapes(workspace: Workspace, paths: Sequence[Path]) -> list[TickBlock]:
    """Return the ticks of sample files with all their columns, a block a symbol."""
    parts: dict[str, list[pa.RecordBatch]] = {}
    for _, block in blocks(plan_files(workspace, ADAPTER, list(paths)), ReplayProgress(0)):
        parts.setdefault(block.symbol, []).append(block.batch)
    tables = {symbol: pa.Table.from_batches(own).unify_dictionaries().combine_chunks() for symbol, own in parts.items()}
    return [TickBlock(symbol, 0, table.to_batches()[0]) for symbol, table in tables.items()]


def long_blocks(tape: TickBlock, ticks: int, origin: str) -> Iterator[TickBlock]:
    """Yield `ticks` ticks: the tape again and again, a week later each time."""
    first = 0
    while first < ticks:
        week = first // len(tape)
        column = pa.array(tape.timestamp + week * _WEEK_NS)
        batch = tape.batch.set_column(0, tape.batch.schema.field(0), column)
        for start in range(0, len(tape), BLOCK_TICKS):
            part = batch.slice(start, min(BLOCK_TICKS, ticks - first))
            if not part.num_rows:
                return
            yield TickBlock(tape.symbol, first, part, origin)
            first += part.num_rows


def prepare(bootstrap: str, workspace: Workspace, samples: Sequence[Path], ticks: int) -> None:
    """Cache long tapes as if a file had held them, save the schema, and write the Parquet file of the reference."""
    tapes = sample_tapes(workspace, samples)
    whole = sum(map(len, tapes))
    adapter = load_adapter(workspace, ADAPTER)
    origin = origin_of(verified(samples[0], adapter), adapter)
    topic = topics.file_ticks(workspace.team, ADAPTER)
    topics.create_topics(bootstrap, topic)
    sender = producer(bootstrap)
    segments = []
    for tape in tapes:
        count = ticks * len(tape) // whole
        segments.append((tape.symbol, count))
        with pq.ParquetWriter(
            workspace.root / f"{tape.symbol}.parquet", pa.schema(list(tape.batch.schema)[:3])
        ) as file:
            for block in long_blocks(tape, count, origin):
                message = encode(block)
                sender.produce(topic.name, key=message.key, value=message.value, headers=message.headers)
                sender.poll(0)
                if len(sender) > 200:
                    sender.flush()
                file.write_batch(block.batch.select(range(3)))
    sender.flush()
    count = sum(count for _, count in segments)
    entry = CachedFile(
        str(samples[0]), ADAPTER, origin, samples[0].stat().st_size, count, count, 0, {}, segments, "0", "0", True
    )
    registry = workspace.folder("raw") / ".cached.json"
    registry.write_bytes(msgspec.json.encode({entry.path: entry}))
    for name, (script, params) in FEATURES.items():
        save_feature(workspace, name, script, params)
    save_schema(workspace, Schema(SCHEMA, [str(samples[0])], list(FEATURES), ADAPTER, split=Split("end", 0.2)))


def built(bootstrap: str, workspace: Workspace, workers: int) -> Built:
    """Build the schema."""
    from lit.processors.build import build

    began = time.perf_counter()
    done = build(workspace, SCHEMA, bootstrap, workers=workers)
    seconds = time.perf_counter() - began
    return Built(done.ticks, done.samples, seconds, *_costs())


def reference(workspace: Workspace) -> Built:
    """Make the same arrays by the plain script."""
    began = time.perf_counter()
    ticks = samples = 0
    with h5py.File(workspace.root / "reference.h5", "w") as file:
        for path in sorted(workspace.root.glob("*.parquet")):
            frame = pl.read_parquet(path)
            ticks += len(frame)
            samples += dataset_of(frame, file.create_group(path.stem))
    return Built(ticks, samples, time.perf_counter() - began, *_costs())


def same(workspace: Workspace) -> bool:
    """Whether build and reference made the same arrays, bit for bit."""
    queue = workspace.path("assets", SCHEMA, "queue")
    with (
        h5py.File(queue / "train.h5") as train,
        h5py.File(queue / "test.h5") as test,
        h5py.File(workspace.root / "reference.h5") as plain,
    ):
        symbols = np.concatenate([train["symbol"].asstr()[:], test["symbol"].asstr()[:]])
        for name in FEATURES:
            made = np.concatenate([train[name][:], test[name][:]])
            for symbol in plain:
                if made[symbols == symbol].tobytes() != plain[symbol][name][:].tobytes():
                    return False
    return True


def _costs() -> tuple[int, float]:
    """Return the largest memory of this process or of one that it started, in bytes, and the processors' seconds."""
    used = [resource.getrusage(kind) for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return max(one.ru_maxrss for one in used) * 1024, sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    kind, address, folder, team = sys.argv[1:5]
    own = Workspace(Path(folder), team)
    outcome = reference(own) if kind == "reference" else built(address, own, int(kind))
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
