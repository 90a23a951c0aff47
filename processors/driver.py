"""One build from its frozen job to its asset: what is missing is pumped to workers, watched and merged."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lit.processors.chunks import BuildJob, ChunkPlan, read_record, sort_out
from lit.processors.inputs import Inputs, pieces
from lit.processors.job import FrozenJob, build_folder, frozen_features, write_job
from lit.processors.merge import PARTS, merge_chunks
from lit.processors.progress import BuildProgress, Meter, driving, write_status
from lit.processors.pump import Piece, Pump
from lit.processors.resume_point import promote_points, usable_point
from lit.processors.workers import Limits, WorkerPool
from lit.streams import topics
from lit.streams.errors import FaultError, LitError, UserError
from lit.streams.filelock import LOCK
from lit.streams.replay import plan_files, replay
from lit.streams.workspace import Workspace

_POLL_SECONDS = 0.05
_REPORT_SECONDS = 0.25

OnProgress = Callable[[BuildProgress], None]


class BuildStopped(UserError):  # noqa: N818 - a stop is what the user wanted
    """The build was asked to stop; what is finished is kept."""


@dataclass(frozen=True)
class BuildSummary:
    """What a build made; `reused` counts chunks that were there, `unchanged`: nothing was to do."""

    build: int
    ticks: int
    late: int
    rejects: int
    samples: int
    parts: dict[str, dict[str, Any]]
    seconds: float
    quarantined: int = 0
    chunks: int = 0
    reused: int = 0
    unchanged: bool = False


class Driver:
    """Takes one build from its frozen job to its asset."""

    def __init__(
        self,
        workspace: Workspace,
        logs: Path,
        bootstrap: str,
        workers: int,
        replication: int,
        limits: Limits,
        on_progress: OnProgress,
    ) -> None:
        self._workspace, self._logs, self._bootstrap = workspace, logs, bootstrap
        self._workers, self._replication, self._limits = workers, replication, limits
        self._on_progress = on_progress
        self._meter = Meter(logs / "progress.json")
        self._reported = 0.0

    def recorded(self) -> _Recorded:
        """Record in `status.txt` how what is done within ends."""
        (self._logs / "stop").unlink(missing_ok=True)
        return _Recorded(self._logs, self)

    def say(self, text: str) -> None:
        """Write a line into `workflow.log`."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
        with (self._logs / "workflow.log").open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {os.getpid()} INFO build - drive: {text}\n")

    def on_file(self, name: str, done: int, total: int) -> None:
        """Tell how far a file is read."""
        self._tell(lambda: self._meter("cache", done, total, name))

    def make(self, job: FrozenJob, inputs: Inputs, began: float) -> BuildSummary:
        """Make what is missing, merge, and clean up."""
        schema = job.schema.name
        with driving(self._workspace.folder("build", schema), f"a build of {schema!r}"):
            cached = bool(inputs.segments)
            if not cached:
                job = self._replayed(job)
            write_job(self._logs, job)
            plans = self._job(job).plans()
            missing = sort_out(self._job(job))
            self.say(f"{job.ticks} ticks in {len(plans)} chunks, {len(plans) - len(missing)} of them are there")
            if missing:
                job = self._compute(job, missing, cached)
            promote_points(self._job(job))
            parts = self._merge(job, plans)
            shutil.rmtree(self._job(job).before, ignore_errors=True)
        return summary(
            job,
            parts,
            began,
            quarantined=sum(one.quarantined for plan in plans if (one := read_record(self._job(job).path(plan)))),
            chunks=len(plans),
            reused=len(plans) - len(missing),
        )

    def _job(self, job: FrozenJob) -> BuildJob:
        return worker_job(self._workspace, job, self._bootstrap)

    def _replayed(self, job: FrozenJob) -> FrozenJob:
        """Send the ticks of the files themselves to the build's topic; their segments are known then."""
        topic = job.topic(self._workspace)
        topics.create_topics(self._bootstrap, topic, replication=self._replication)
        plan = plan_files(self._workspace, job.schema.adapter, list(map(Path, job.files)), job.schema.parameters)
        done = replay(
            self._bootstrap,
            topic.name,
            plan,
            end_marks=True,
            on_progress=lambda p: self.on_file("replay", p.read_bytes, p.total_bytes),
        )
        return msgspec.structs.replace(
            job,
            segments=done.segments,
            origins=job.origins or [plan.marks[-1]] * len(done.segments),
            late=done.late,
            rejects=sum(done.rejects.values()),
        )

    def _compute(self, job: FrozenJob, missing: Sequence[ChunkPlan], cached: bool) -> FrozenJob:
        """Let workers make the missing chunks; returns the job, of another attempt if the cache's topic had holes."""
        topic = job.topic(self._workspace)
        topics.create_topics(self._bootstrap, topic, replication=self._replication)
        follow = _Follow(self._job(job), missing)
        try:
            with WorkerPool(self._workspace, job, self._logs, self._bootstrap, self._workers, self._limits) as pool:
                lost: Sequence[Piece] = []
                if cached:
                    source = topics.ticks(self._workspace.team, job.schema.adapter).name
                    pump = Pump(self._bootstrap, source, topic.name, self._needed(job, missing))
                    lost = pump.run(lambda: self._watch(pool, follow))
                while not lost and not follow.finished():
                    self._watch(pool, follow)
                    time.sleep(_POLL_SECONDS)
                self._watch(pool, follow, at_once=True)
        finally:
            topics.delete_topics(self._bootstrap, topic)
        if not lost:
            return job
        self.say(f"the cache's topic no longer holds {lost[0].count} ticks of {lost[0].symbol}: reading the files")
        again = self._replayed(msgspec.structs.replace(job, attempt=job.attempt + 1))
        if again.segments != job.segments:
            raise FaultError(f"the files of {job.schema.name!r} give other ticks than were cached: start a new build")
        write_job(self._logs, again)
        return self._compute(again, [plan for plan in missing if not self._job(job).path(plan).exists()], cached=False)

    def _needed(self, job: FrozenJob, missing: Sequence[ChunkPlan]) -> list[Piece]:
        """Return the stretches that workers have to read: those behind each symbol's resume point."""
        begin = {}
        for symbol in {plan.symbol for plan in missing}:
            point = usable_point(self._job(job), symbol, [plan for plan in missing if plan.symbol == symbol])
            begin[symbol] = point.next_index if point else 0
            if point:
                self.say(f"{symbol} goes on at its tick {point.next_index}")
        found = pieces(job.segments, job.origins, set(begin))
        return [piece for piece in found if piece.base >= begin[piece.symbol]]

    def _watch(self, pool: WorkerPool, follow: _Follow, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        if not at_once:
            pool.check()
        reports = pool.reports()
        done, samples = follow.count(reports)
        self._reported = 0.0
        self._tell(lambda: self._meter("features", done, follow.total, "", samples, reports))

    def _tell(self, progress: Callable[[], BuildProgress]) -> None:
        if (self._logs / "stop").exists():
            raise BuildStopped(f"build {self._logs.name} was stopped: `lit build resume {self._logs.name}` goes on")
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._on_progress(progress())

    def _merge(self, job: FrozenJob, plans: Sequence[ChunkPlan]) -> dict[str, dict[str, Any]]:
        schema, build_job = job.schema, self._job(job)
        chunks = [(plan.symbol, build_job.path(plan)) for plan in plans]
        total = sum(record.samples for _, path in chunks if (record := read_record(path)))
        if not total:
            raise UserError(
                f"no sample of schema {schema.name!r} is left: its features reject every tick "
                "(too few bars in these files, or a sampler that never samples)"
            )
        self._on_progress(self._meter("merge", 0, total, samples=total))
        columns = {feature.name: feature.columns for feature in frozen_features(job)}
        queue = self._workspace.folder("assets", schema.name, "queue")
        parts = merge_chunks(
            chunks,
            {part: queue / f"{part}.h5" for part in PARTS},
            schema,
            {name: columns[name] for name in schema.features},
            msgspec.to_builtins(job),
            lock=queue.parent / LOCK,
        )
        self._on_progress(self._meter("merge", total, total, samples=total))
        return parts


class _Recorded:
    """Writes down how a build ends, whatever ends it."""

    def __init__(self, logs: Path, driver: Driver) -> None:
        self._logs, self._driver = logs, driver

    def __enter__(self) -> None:
        write_status(self._logs, "running")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None:
            write_status(self._logs, "complete")
            self._driver.say("complete")
        elif isinstance(error, BuildStopped | KeyboardInterrupt):
            write_status(self._logs, "stopped")
            self._driver.say("stopped")
        else:
            text = str(error) if isinstance(error, LitError) else f"{type(error).__name__}: {error}"
            write_status(self._logs, f"failed: {text}")
            self._driver.say(f"failed: {text}")


class _Follow:
    """Counts what is done of the missing chunks: finished files, and what workers say of those under way."""

    def __init__(self, job: BuildJob, missing: Sequence[ChunkPlan]) -> None:
        self._waiting = {job.path(plan): plan for plan in missing}
        self._symbols: dict[str, list[ChunkPlan]] = {}
        for plan in missing:
            self._symbols.setdefault(plan.symbol, []).append(plan)
        self.total = sum(plan.stop - plan.first for plan in missing)

    def finished(self) -> bool:
        """Whether all chunks are there."""
        self._waiting = {path: plan for path, plan in self._waiting.items() if not path.exists()}
        return not self._waiting

    def count(self, reports: Sequence[Any]) -> tuple[int, int]:
        """Return ticks done with and samples made."""
        settled: dict[str, int] = {}
        samples: dict[str, int] = {}
        for report in reports:
            for symbol, said in report.symbols.items():
                settled[symbol] = max(settled.get(symbol, 0), said.ticks)
                samples[symbol] = max(samples.get(symbol, 0), said.samples)
        done = sum(
            min(max(settled.get(symbol, 0) - plan.first, 0), plan.stop - plan.first)
            for symbol, plans in self._symbols.items()
            for plan in plans
        )
        return done, sum(samples.values())


def worker_job(workspace: Workspace, job: FrozenJob, bootstrap: str) -> BuildJob:
    """Return what a feature worker of a build needs."""
    folder = build_folder(workspace, job.schema.name)
    topic = job.topic(workspace).name
    return BuildJob(
        bootstrap,
        topic.replace(".ticks.", ".", 1),
        topic,
        job,
        folder,
        folder.with_name("before"),
        workspace.path("logs", str(job.build)) / "quarantine.jsonl",
    )


def summary(job: FrozenJob, parts: dict[str, dict[str, Any]], began: float, **facts: Any) -> BuildSummary:
    """Return the summary of a build that began at `began` (`time.monotonic`) and made these parts."""
    return BuildSummary(
        build=job.build,
        ticks=job.ticks,
        late=job.late,
        rejects=job.rejects,
        samples=sum(part["samples"] for part in parts.values()),
        parts=parts,
        seconds=time.monotonic() - began,
        **facts,
    )
