"""Builds: a schema's files through Kafka to feature workers, their chunks merged into an asset.

Everything that a build needs after a crash is on disk or in its topic: the frozen job in `logs/{build}/job.json`, the
ticks in the topic, finished chunks in `build/{schema}/tmp/data`. So a build is resumed by doing it again: what is there
is kept.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lit.features.dataset import Layout, Segment
from lit.features.feature import Feature
from lit.features.library import load_features
from lit.features.schema import Schema, load_schema
from lit.features.scripts import load_script
from lit.processors.chunks import merge_chunks, plan_chunks, read_index
from lit.processors.features import BuildJob
from lit.streams import topics
from lit.streams.errors import FaultError, UserError
from lit.streams.replay import ReplayProgress, plan_files, replay
from lit.streams.workspace import Workspace

#: A feature worker that crashed is started again this often; its finished chunks are kept.
RESTARTS = 3
_POLL_SECONDS = 0.2
_VERSIONED = ("numpy", "pandas", "numba", "pyarrow", "h5py")


class FrozenFeature(msgspec.Struct, frozen=True):
    """A feature as a build began with it; its source goes with asset, run and vault item."""

    script: str
    digest: str
    source: str
    params: dict[str, Any]

    @classmethod
    def of(cls, feature: Feature) -> FrozenFeature:
        """Freeze a feature."""
        return cls(feature.script.name, feature.script.digest, feature.script.source, dict(feature.params))

    def thaw(self, name: str) -> Feature:
        """Make the feature again from what was frozen, whatever the team's script says by now."""
        return Feature(name, load_script(Path(f"{self.script}.py"), self.source), self.params)


class FrozenJob(msgspec.Struct, frozen=True):
    """A build as it began: `logs/{build}/job.json`, and the schema snapshot of its asset."""

    build: int
    schema: Schema
    files: dict[str, str]
    adapter_digest: str
    features: dict[str, FrozenFeature]
    segments: list[tuple[str, int]]
    versions: dict[str, str]

    @property
    def source(self) -> str:
        """The build's tick topic, as a source."""
        return f"build-{self.schema.name}-{self.build}"

    def job(self, workspace: Workspace, bootstrap: str) -> BuildJob:
        """Return what a feature worker needs."""
        return BuildJob(
            bootstrap,
            f"lit.{workspace.team}.{self.source}".replace(" ", "_"),
            topics.ticks(workspace.team, self.source).name,
            self.schema,
            tuple(Segment(symbol, count) for symbol, count in self.segments),
            chunk_folder(workspace, self.schema.name),
        )


@dataclass(frozen=True)
class BuildProgress:
    """How far a build is: `stage` is replay, features or merge; `done` of `total` in bytes, ticks or parts."""

    stage: str
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True)
class BuildSummary:
    """What a build made."""

    build: int
    ticks: int
    late: int
    rejects: int
    samples: int
    parts: dict[str, dict[str, Any]]
    seconds: float


def chunk_folder(workspace: Workspace, schema: str) -> Path:
    """Return where a schema's chunks are while it is built."""
    return workspace.path("build", schema) / "tmp" / "data"


def build(
    workspace: Workspace,
    schema_name: str,
    bootstrap: str,
    *,
    workers: int = 1,
    replication: int = 1,
    on_progress: Callable[[BuildProgress], None] = lambda _: None,
) -> BuildSummary:
    """Build a schema's dataset into its asset's queue.

    Parameters
    ----------
    workspace, schema_name
        Whose schema.
    bootstrap
        Kafka.
    workers
        How many feature workers share the symbols.
    on_progress
        Called as the build goes on.

    Raises
    ------
    UserError
        If the schema, a file or a feature is unusable, or no sample is left.
    FaultError
        If Kafka or a worker fails.
    """
    began = time.monotonic()
    schema = load_schema(workspace, schema_name)
    features = load_features(workspace, schema.features)
    paths = [_raw_path(workspace, path) for path in schema.paths]
    plan = plan_files(workspace, schema.adapter, paths, schema.parameters)
    logs = _new_logs(workspace)
    _status(logs, "running")
    folder = chunk_folder(workspace, schema.name)
    shutil.rmtree(folder, ignore_errors=True)  # of another version of the schema, perhaps
    frozen = FrozenJob(
        int(logs.name),
        schema,
        {str(file.path): file.digest for file in plan.files},
        plan.adapter.digest,
        {feature.name: FrozenFeature.of(feature) for feature in features},
        [],
        {name: importlib.metadata.version(name) for name in _VERSIONED},
    )
    topic = topics.ticks(workspace.team, frozen.source)
    try:
        topics.create_topics(bootstrap, topic, replication=replication)
        done = replay(
            bootstrap,
            topic.name,
            plan,
            end_marks=True,
            on_progress=lambda p: on_progress(_replayed(p)),
        )
        frozen = msgspec.structs.replace(frozen, segments=done.segments)
        _write_job(logs, frozen)
        _run_workers(workspace, frozen, logs, bootstrap, workers, on_progress)
        on_progress(BuildProgress("merge", 0, 1))
        parts = _merge(workspace, frozen, features)
        on_progress(BuildProgress("merge", 1, 1))
    except BaseException as error:
        _status(logs, "stopped" if isinstance(error, KeyboardInterrupt) else f"failed: {error}")
        raise
    finally:
        topics.delete_topics(bootstrap, topic)
    shutil.rmtree(folder.parent.parent, ignore_errors=True)
    _status(logs, "complete")
    return BuildSummary(
        build=frozen.build,
        ticks=done.ticks,
        late=done.late,
        rejects=sum(done.rejects.values()),
        samples=sum(part["samples"] for part in parts.values()),
        parts=parts,
        seconds=time.monotonic() - began,
    )


def load_job(workspace: Workspace, number: int) -> FrozenJob:
    """Read the frozen job of a build."""
    path = workspace.path("logs", str(number)) / "job.json"
    if not path.exists():
        raise UserError(f"team {workspace.team!r} has no build {number}")
    return msgspec.json.decode(path.read_bytes(), type=FrozenJob)


def frozen_features(job: FrozenJob) -> list[Feature]:
    """Return a job's features, in the schema's order, as the build began with them."""
    return [job.features[name].thaw(name) for name in job.schema.features]


def _raw_path(workspace: Workspace, path: str) -> Path:
    """A schema names files within `raw/`, or by an absolute path."""
    return Path(path) if Path(path).is_absolute() else workspace.root / "raw" / path


def _new_logs(workspace: Workspace) -> Path:
    root = workspace.folder("logs")
    number = max((int(p.name) for p in root.iterdir() if p.name.isdigit()), default=0) + 1
    while True:
        try:
            (root / str(number)).mkdir()
            return root / str(number)
        except FileExistsError:
            number += 1


def _status(logs: Path, text: str) -> None:
    (logs / "status.txt").write_text(text + "\n")


def _write_job(logs: Path, job: FrozenJob) -> None:
    content = msgspec.json.format(msgspec.json.encode(job), indent=2)
    (logs / "job.json").write_bytes(content)
    (logs / f"{job.schema.name}.json").write_bytes(content)


def _replayed(progress: ReplayProgress) -> BuildProgress:
    rate = progress.ticks / max(progress.seconds, 1e-9)
    return BuildProgress("replay", progress.read_bytes, progress.total_bytes, f"{rate:,.0f} ticks/s")


def _run_workers(
    workspace: Workspace,
    frozen: FrozenJob,
    logs: Path,
    bootstrap: str,
    count: int,
    on_progress: Callable[[BuildProgress], None],
) -> None:
    job = frozen.job(workspace, bootstrap)
    plans = plan_chunks(Layout(job.segments))
    paths = {plan.path(job.folder, frozen.schema.name): plan.stop - plan.first for plan in plans}
    total = sum(paths.values())
    processes = [_start_worker(workspace, frozen.build, logs, bootstrap) for _ in range(count)]
    restarts = 0
    try:
        while True:
            _write_pids(logs, processes)
            done = sum(ticks for path, ticks in paths.items() if path.exists())
            on_progress(BuildProgress("features", done, total))
            if done == total:
                return
            for number, process in enumerate(processes):
                if process.poll() is None:
                    continue
                if process.returncode in (1, 2) or restarts == RESTARTS:
                    raise _failure(logs, process.returncode)
                restarts += 1
                processes[number] = _start_worker(workspace, frozen.build, logs, bootstrap)
            time.sleep(_POLL_SECONDS)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            _wait(process)
        _write_pids(logs, processes)


def _start_worker(workspace: Workspace, build_number: int, logs: Path, bootstrap: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lit.cli", "worker", "features"]
    with (logs / "workflow.log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--team", workspace.team, "--build", str(build_number)],
            env={**os.environ, "LIT_DATA": str(workspace.data), "LIT_KAFKA": bootstrap},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def _write_pids(logs: Path, processes: Sequence[subprocess.Popen[bytes]]) -> None:
    state = {str(p.pid): "running" if p.poll() is None else f"exit {p.returncode}" for p in processes}
    (logs / "pids.json").write_bytes(msgspec.json.encode(state))


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure(logs: Path, code: int) -> UserError | FaultError:
    lines = (logs / "workflow.log").read_text(errors="replace").strip().splitlines()
    said = next((line for line in reversed(lines) if " ERROR " in line or line.startswith("lit: ")), "")
    text = said.split(": ", 1)[-1] if said else f"a feature worker ended with code {code}"
    text = f"{text} (see {logs / 'workflow.log'})"
    return UserError(text) if code == 2 else FaultError(text)


def _merge(workspace: Workspace, frozen: FrozenJob, features: Sequence[Feature]) -> dict[str, dict[str, Any]]:
    schema = frozen.schema
    layout = Layout(Segment(symbol, count) for symbol, count in frozen.segments)
    folder = chunk_folder(workspace, schema.name)
    chunks = [plan.path(folder, schema.name) for plan in plan_chunks(layout)]
    index, timestamp = read_index(chunks)
    if not len(index):
        raise UserError(
            f"no sample of schema {schema.name!r} is left: its features reject every tick "
            "(too few bars in these files, or a sampler that never samples)"
        )
    queue = workspace.folder("assets", schema.name, "queue")
    return merge_chunks(
        chunks,
        {part: queue / f"{part}.h5" for part in ("train", "test")},
        schema.split.is_test(index, timestamp),
        {feature.name: feature.columns for feature in features},
        msgspec.to_builtins(frozen),
    )
