"""Builds without Kafka, for tests: the feature worker fed by hand, in any order of symbols and any cut of ticks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.features.feature import Feature
from lit.features.library import in_order_of_need
from lit.features.schema import Schema, Split
from lit.features.scripts import load_script
from lit.processors.chunks import BuildJob, sort_out
from lit.processors.features import FeatureWorker
from lit.processors.job import FrozenJob, OnError, freeze, frozen_features, versions
from lit.processors.merge import PARTS, merge_chunks
from lit.processors.resume_point import promote_points, usable_point
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark

#: (symbol, its ticks): a file's stretch, from index 0.
File = tuple[str, TickBlock]


def script_feature(name: str, source: str, params: dict[str, Any] | None = None) -> Feature:
    """Return a feature of a script given by its text."""
    return Feature(name, load_script(Path(f"{name}_script.py"), source), params or {})


def frozen_job(
    files: Sequence[File],
    features: Sequence[Feature],
    chunk_ticks: int = 10_000,
    on_error: OnError = "stop",
    **fields: Any,
) -> FrozenJob:
    """Freeze a build of files, whose origins are digests of their ticks."""
    for place, feature in enumerate(in_order_of_need(features)):
        feature.sort_key = float(place)
    origins = [f"{symbol} {hash(tape.batch.column(1).to_numpy().tobytes())} {len(tape)}" for symbol, tape in files]
    schema = Schema("s", origins, [f.name for f in features], split=Split("random", 0.3, 1), **fields)
    segments = [(symbol, len(tape)) for symbol, tape in files]
    digests = {origin: origin for origin in origins}
    return FrozenJob(
        1, schema, digests, "", freeze(features), segments, versions(), origins, on_error, chunk_ticks=chunk_ticks
    )


class Building:
    """One build over a folder that earlier builds may have used."""

    def __init__(self, folder: Path, frozen: FrozenJob) -> None:
        self.folder = folder
        self.job = BuildJob("", "", "", frozen, folder / "data", folder / "before", folder / "quarantine.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        self.missing = sort_out(self.job)

    def worker(self) -> FeatureWorker:
        """Return a new worker."""
        return FeatureWorker(self.job)

    def messages(self, files: Sequence[File], seed: int = 0) -> dict[str, list[TickBlock | Watermark]]:
        """Return what the build's topic would hold: of symbols with missing chunks, what their workers must read."""
        found = {}
        for symbol, own in sequences(files, seed).items():
            missing = [plan for plan in self.missing if plan.symbol == symbol]
            point = usable_point(self.job, symbol, missing) if missing else None
            begin = point.next_index if point else 0
            found[symbol] = [one for one in own if isinstance(one, Watermark) or one.first_index >= begin]
            if not missing:
                del found[symbol]
        return found

    def merge(self) -> dict[str, Any]:
        """Merge and return the parts' counts and digests; what this build knows is there for the next."""
        promote_points(self.job)
        frozen = self.job.frozen
        columns = {feature.name: feature.columns for feature in frozen_features(frozen)}
        chunks = [(plan.symbol, self.job.path(plan)) for plan in self.job.plans()]
        targets = {part: self.folder / f"{part}.h5" for part in PARTS}
        named = {name: columns[name] for name in frozen.schema.features}
        return merge_chunks(chunks, targets, frozen.schema, named, msgspec.to_builtins(frozen))


def sequences(files: Sequence[File], seed: int = 0) -> dict[str, list[TickBlock | Watermark]]:
    """Return each symbol's messages: its files one after the other, cut anywhere, and its end."""
    rng = np.random.default_rng(seed)
    messages: dict[str, list[TickBlock | Watermark]] = {}
    bases: dict[str, int] = {}
    for symbol, tape in files:
        base = bases.get(symbol, 0)
        edges = sorted({0, len(tape), *rng.integers(0, len(tape) + 1, 3).tolist()})
        own = messages.setdefault(symbol, [])
        own += [
            TickBlock(symbol, base + low, tape.batch.slice(low, high - low)) for low, high in itertools.pairwise(edges)
        ]
        bases[symbol] = base + len(tape)
    for symbol, own in messages.items():
        own.append(Watermark(symbol, END_OF_TIME, bases[symbol]))
    return messages


def feed(worker: FeatureWorker, messages: Iterable[TickBlock | Watermark]) -> dict[str, dict[str, int]]:
    """Feed a worker; returns symbol → feature → samples that it was computed at."""
    for item in messages:
        worker.take(item)
    return {build.symbol: build.computed for build in worker.builds}


def built(
    folder: Path, files: Sequence[File], features: Sequence[Feature], seed: int = 0, **options: Any
) -> dict[str, Any]:
    """Build by one worker and return the parts' counts and digests."""
    building = Building(folder, frozen_job(files, features, **options))
    worker = building.worker()
    for messages in building.messages(files, seed).values():
        feed(worker, messages)
    return building.merge()
