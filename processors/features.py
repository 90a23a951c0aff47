"""The feature processor of a build: tick blocks in, dataset chunks out, by the engine that serves live.

A worker's state is what it can recompute: it commits no offsets, and a restarted one reads its partitions from their
beginning and writes only the chunks that are missing. Chunks are planned from the dataset alone, so any number of
workers makes the same files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
import numpy as np

from lit.features.dataset import Layout, Segment
from lit.features.engine import FeatureEngine, Samples, in_computing_order
from lit.features.feature import Feature
from lit.features.intervals import Interval
from lit.features.probe import intervals_of, probe
from lit.features.schema import Schema
from lit.processors.app import create_app, guarded, raw_topic
from lit.processors.chunks import ChunkPlan, plan_chunks, write_chunk
from lit.streams.codec import decode
from lit.streams.errors import FaultError
from lit.streams.tick import TickBlock, Watermark

log = logging.getLogger("data_worker")


@dataclass(frozen=True)
class BuildJob:
    """What a feature worker of a build needs to know."""

    bootstrap: str
    app_id: str
    topic: str
    schema: Schema
    segments: tuple[Segment, ...]
    folder: Path


class SymbolBuild:
    """One symbol of a build: its engine, and the chunks that its samples fill."""

    def __init__(
        self,
        job: BuildJob,
        layout: Layout,
        plans: Sequence[ChunkPlan],
        features: Sequence[Feature],
        intervals: Sequence[Interval],
    ) -> None:
        self._job = job
        self._layout = layout
        self._plans = list(plans)
        self._symbol = plans[0].symbol
        self._order = [feature.name for feature in in_computing_order(features)]
        self._engine = FeatureEngine(self._symbol, features, job.schema.resolution, intervals)
        self._done: list[Samples] = []

    @property
    def finished(self) -> bool:
        """Whether all chunks are written."""
        return not self._plans

    def take(self, item: TickBlock | Watermark) -> None:
        """Apply the next message; repeats are skipped, gaps raise `FaultError`."""
        expected = self._engine.next_index
        first = item.first_index if isinstance(item, TickBlock) else item.next_index
        if first > expected:
            raise FaultError(f"ticks {expected} to {first - 1} of {self._symbol} are missing in {self._job.topic}")
        if isinstance(item, TickBlock):
            if item.next_index <= expected:
                return
            item = item.slice(expected - first)
        elif first < expected:
            return
        samples = self._engine.feed(item)
        if len(samples):
            self._done.append(samples)
        while self._plans and (self._engine.settled >= self._plans[0].stop):
            self._write(self._plans.pop(0))

    def _write(self, plan: ChunkPlan) -> None:
        path = plan.path(self._job.folder, self._job.schema.name)
        samples = Samples.concat(self._done) if self._done else self._engine.none
        inside = int(np.searchsorted(samples.index, plan.stop))
        self._done = [samples[inside:]] if inside < len(samples) else []
        if path.exists():
            return
        part = samples[:inside]
        log.info("%d samples at resolution of %d", plan.stop - plan.first, self._job.schema.resolution)
        log.info("Writing %d of them to %s", len(part), path)
        write_chunk(path, part, self._layout.indices(self._symbol, part.index))
        log.info("Computed fields: %s Dependencies: []", self._order)


def features_app(job: BuildJob, features: Sequence[Feature]) -> faust.App:
    """Return the Faust app of one feature worker; workers of a build share its consumer group."""
    app = create_app(job.app_id, job.bootstrap)
    layout = Layout(job.segments)
    plans = plan_chunks(layout)
    intervals = intervals_of(probe(features))
    builds: dict[str, SymbolBuild] = {}

    def build_of(symbol: str) -> SymbolBuild:
        if symbol not in builds:
            own = [plan for plan in plans if plan.symbol == symbol]
            builds[symbol] = SymbolBuild(job, layout, own, features, intervals)
        return builds[symbol]

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            item = decode(message.key, message.value, message.headers)
            build_of(item.symbol).take(item)

    app.agent(raw_topic(app, job.topic), name="features")(guarded(body))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        builds.clear()

    return app
