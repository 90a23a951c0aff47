"""The feature processor of a build: tick blocks in, dataset chunks out, by the engine that serves live.

A worker's state is what it can recompute: it commits no offsets, and a restarted one reads its partitions from their
beginning and tries only the samples of chunks that are missing. Chunks are planned from the dataset alone, so any
number of workers makes the same files.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import faust
import numpy as np

from lit.features.engine import Doing, Feature, FeatureEngine, SampleError, Samples
from lit.features.layout import Layout
from lit.features.probe import Reads, intervals_of, probe
from lit.processors.app import create_app, guarded, raw_topic
from lit.processors.chunks import BuildJob, ChunkPlan, ChunkRecord, ChunkWriter
from lit.processors.delivery import unseen
from lit.processors.job import frozen_features
from lit.processors.memory import Remembering, remember
from lit.processors.putaside import PutAside
from lit.processors.resume_point import carried, load_window, save_point, usable_point
from lit.streams.codec import decode
from lit.streams.tick import Int64Array, TickBlock, Watermark

log = logging.getLogger("data_worker")

#: Ticks gathered before features are computed: many samples at once cost less than a few at a time.
GATHERED = 65_536


class SymbolBuild:
    """One symbol of a build: its engine, and the chunks that its samples fill."""

    def __init__(
        self,
        job: BuildJob,
        layout: Layout,
        plans: Sequence[ChunkPlan],
        features: Sequence[Feature],
        reads: dict[str, Reads],
    ) -> None:
        self._job, self._layout = job, layout
        self.symbol = plans[0].symbol
        self._sequence = job.frozen.sequence(self.symbol)
        self._put_aside = PutAside(job.put_aside, job.frozen.on_error == "quarantine")
        self._plans = [plan for plan in plans if not job.path(plan).exists()]
        self._carried = {plan: carried(job, plan) for plan in self._plans}
        done = [(plan.first, self._carried.get(plan, plan.stop)) for plan in plans]
        point = usable_point(job, self.symbol, self._plans)
        self._features = remember(job.frozen, features, self._plans, job.before)
        self._engine = FeatureEngine(
            self.symbol,
            self._features,
            job.frozen.schema.resolution,
            intervals_of(reads),
            done,
            self._failed,
            GATHERED,
            # what reads no bars holds a few bytes a sample, so more of them fit
            {name: GATHERED for name, one in reads.items() if one.ticks and not one.intervals},
            load_window(job, point) if point else None,
            point.settled if point else 0,
        )
        self._writer: ChunkWriter | None = None
        self._kept: dict[str, Int64Array] = {}
        self._ahead: list[Samples] = []
        self._certain: int | None = None
        self.samples = 0

    @property
    def settled(self) -> int:
        """Ticks that are done with."""
        return self._engine.settled

    @property
    def computed(self) -> dict[str, int]:
        """Feature → samples that it was computed at; those that chunks knew are not among them."""
        known = {one.name: one.remembered for one in self._features if isinstance(one, Remembering)}
        return {name: counts.samples - known.get(name, 0) for name, counts in self._engine.counts.items()}

    @property
    def doing(self) -> Doing | None:
        """What is being computed now."""
        return self._engine.doing

    def take(self, item: TickBlock | Watermark) -> None:
        """Apply the next message; repeats are skipped, gaps raise `SequenceError`."""
        fresh = unseen(item, self._engine.next_index, f"in {self._job.topic}")
        if fresh is None or (isinstance(fresh, Watermark) and self._certain is not None):
            return
        if isinstance(fresh, Watermark):
            self._ahead.append(self._engine.gathered())
            self._certain = self._engine.settled
            save_point(self._job, self._engine.window, self._certain)
        self._ahead.append(self._engine.feed(fresh))
        while self._plans and self._engine.settled >= self._plans[0].stop:
            self._write(self._plans[0])
            self.process_chunk(self._plans.pop(0))
        if self._plans:
            self._write(self._plans[0])

    def _write(self, plan: ChunkPlan) -> None:
        """Hand a chunk's samples to its writer; those of later chunks stay."""
        samples = Samples.concat(self._ahead)
        inside = int(np.searchsorted(samples.index, plan.stop))
        self._ahead = [samples[inside:]]
        if self._writer is None:
            self._writer = ChunkWriter(self._job.path(plan), self._job.frozen.chunk_dtype)
            self._kept = {}
            if self._carried[plan] > plan.first:
                earlier = plan.path(self._job.before, self._job.frozen.schema.name)
                self._kept = self._writer.carry(earlier, self._carried[plan])
        if inside:
            part = samples[:inside]
            self.samples += inside
            self._writer.append(part, self._layout.indices(self.symbol, part.index))

    def process_chunk(self, plan: ChunkPlan) -> None:
        """Complete a chunk: all of its samples have been handed to the writer."""
        writer, self._writer = self._writer, None
        assert writer is not None
        frozen = self._job.frozen
        log.info("%d samples at resolution of %d", plan.stop - plan.first, frozen.schema.resolution)
        log.info("Writing to %s mode w ...", writer.path)
        kept = self._engine.kept(plan.stop)
        record = ChunkRecord(
            self.symbol,
            plan.first,
            plan.stop,
            frozen.schema.resolution,
            frozen.chunk_dtype,
            frozen.stages(),
            self._read(),
            plan.stop if self._certain is None else min(max(self._certain, plan.first), plan.stop),
            quarantined=self._put_aside.count(plan.first, plan.stop),
            samples=writer.samples,
        )
        none = np.empty(0, np.int64)
        fresh = {name: index[index >= plan.first] for name, index in kept.items()}
        writer.finish(record, {name: np.concatenate([self._kept.get(name, none), fresh[name]]) for name in fresh})
        log.info("Computed fields: %s Dependencies: %s", list(kept), frozen.dependencies())

    def _read(self) -> list[tuple[str, int]]:
        """Return the stretches that had a say so far."""
        read, at = 0, 0
        for _, count in self._sequence:
            if at >= self._engine.next_index:
                break
            at += count
            read += 1
        return self._sequence[:read]

    def _failed(self, error: SampleError) -> bool:
        index = int(self._layout.indices(self.symbol, np.array([error.index], np.int64))[0])
        return self._put_aside(error, index)

    def close(self) -> None:
        """Drop what is unfinished."""
        if self._writer is not None:
            self._writer.abandon()


class FeatureWorker:
    """The symbols that a worker has; read by its reporter from another thread."""

    def __init__(self, job: BuildJob) -> None:
        self.job = job
        self._layout = job.layout
        self._plans = job.plans()
        self._reads = probe(frozen_features(job.frozen))
        self._builds: dict[str, SymbolBuild] = {}

    @property
    def builds(self) -> list[SymbolBuild]:
        """The symbols under way."""
        return list(self._builds.values())

    def take(self, item: TickBlock | Watermark) -> None:
        """Apply a message."""
        build = self._builds.get(item.symbol)
        if build is None:
            own = [plan for plan in self._plans if plan.symbol == item.symbol]
            build = self._builds[item.symbol] = SymbolBuild(
                self.job, self._layout, own, frozen_features(self.job.frozen), self._reads
            )
        build.take(item)

    def forget(self) -> None:
        """Begin anew: partitions were taken away, and those that come are read from their beginning."""
        for build in self._builds.values():
            build.close()
        self._builds.clear()


def features_app(worker: FeatureWorker) -> faust.App:
    """Return the Faust app of one feature worker; workers of a build share its consumer group."""
    job = worker.job
    app = create_app(job.app_id, job.bootstrap)

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            for message in event.message.take():
                worker.take(decode(message.key, message.value, message.headers))

    app.agent(raw_topic(app, job.topic), name="features")(guarded(body))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        worker.forget()

    return app
