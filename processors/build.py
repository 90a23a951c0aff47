"""Builds: a schema's cached files through Kafka to feature workers, their chunks merged into an asset.

Everything that a build needs after a crash is on disk or in the cache's topic: the frozen job in `logs/{build}`, chunks
in `build/{schema}/tmp/data`. So a build is resumed by doing it again, and a later build of a schema is a resumption of
the one before: what is there and would be made the same is kept, and what is known of the rest is used.
"""

from __future__ import annotations

import time
from typing import Any

import h5py
import msgspec

from lit.features.library import load_features
from lit.features.schema import load_schema
from lit.processors.driver import BuildStopped, BuildSummary, Driver, OnProgress, summary
from lit.processors.inputs import read_inputs
from lit.processors.job import (
    CHUNK_TICKS,
    FrozenJob,
    OnError,
    freeze,
    load_job,
    logs_folder,
    new_logs,
    versions,
    write_job,
)
from lit.processors.launch import note_start
from lit.processors.merge import PARTS
from lit.processors.progress import BuildProgress, driving
from lit.processors.workers import Limits
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

__all__ = ["BuildProgress", "BuildStopped", "BuildSummary", "build", "resume"]


def build(
    workspace: Workspace,
    schema_name: str,
    bootstrap: str,
    *,
    workers: int = 1,
    replication: int = 1,
    on_error: OnError = "stop",
    limits: Limits | None = None,
    chunk_ticks: int = CHUNK_TICKS,
    number: int | None = None,
    on_progress: OnProgress = lambda _: None,
) -> BuildSummary:
    """Build a schema's dataset into its asset's queue.

    Parameters
    ----------
    workspace, schema_name
        Whose schema.
    bootstrap
        Kafka.
    workers
        How many feature workers share the symbols; 0: those that were started elsewhere do.
    on_error
        Whether a sample whose script fails ends the build, or is put aside.
    limits
        What a worker may take.
    chunk_ticks
        Ticks that a chunk covers at the most.
    number
        Its number, where its folder was made already.
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
    logs = new_logs(workspace) if number is None else logs_folder(workspace, number)
    note_start(workspace, int(logs.name), schema.name)
    driver = Driver(workspace, logs, bootstrap, workers, replication, limits or Limits(), on_progress)
    with driving(logs, f"build {logs.name}"), driver.recorded():
        inputs = read_inputs(workspace, schema, bootstrap, replication, driver.on_file)
        frozen = FrozenJob(
            int(logs.name),
            schema,
            inputs.files,
            inputs.plan.adapter.digest,
            freeze(features),
            inputs.segments,
            versions(),
            inputs.origins,
            on_error,
            late=inputs.late,
            rejects=inputs.rejects,
            chunk_ticks=chunk_ticks,
        )
        earlier = _unchanged(workspace, frozen)
        if earlier is not None:
            write_job(logs, frozen)
            driver.say(f"nothing changed since build {earlier[0]}: its files in assets/{schema.name} are up to date")
            return summary(frozen, earlier[1], began, unchanged=True)
        return driver.make(frozen, inputs, began)


def resume(
    workspace: Workspace,
    number: int,
    bootstrap: str,
    *,
    workers: int = 1,
    replication: int = 1,
    limits: Limits | None = None,
    on_progress: OnProgress = lambda _: None,
) -> BuildSummary:
    """Go on with a build that was stopped, failed or crashed, from the same frozen job; finished chunks stay.

    Raises
    ------
    UserError
        If it is complete or running, or a file is not the one that it began with.
    FaultError
        If Kafka or a worker fails.
    """
    began = time.monotonic()
    logs = logs_folder(workspace, number)
    driver = Driver(workspace, logs, bootstrap, workers, replication, limits or Limits(), on_progress)
    with driving(logs, f"build {number}"):
        if (logs / "status.txt").exists() and (logs / "status.txt").read_text("utf-8").startswith("complete"):
            raise UserError(f"build {number} is complete: start a new one")
        job = load_job(workspace, number)
        with driver.recorded():
            inputs = read_inputs(workspace, job.schema, bootstrap, replication, driver.on_file)
            for path, digest in job.files.items():
                if inputs.files.get(path) != digest:
                    raise UserError(f"{path} is not the file that build {number} began with: start a new build")
            job = msgspec.structs.replace(job, attempt=job.attempt + 1)
            return driver.make(job, inputs, began)


def _unchanged(workspace: Workspace, job: FrozenJob) -> tuple[int, dict[str, dict[str, Any]]] | None:
    """Return the build, and its parts, whose files are in place and what this job would make again."""
    root = workspace.path("assets", job.schema.name)
    for folder in (root / "queue", root):
        found: dict[str, dict[str, Any]] = {}
        builds = set()
        for part in PARTS:
            try:
                with h5py.File(folder / f"{part}.h5") as file:
                    earlier = msgspec.json.decode(file.attrs["schema"], type=FrozenJob)
                    found[part] = {"samples": len(file["index"]), "digest": str(file.attrs["digest"])}
            except (OSError, KeyError, msgspec.MsgspecError):
                break
            if not earlier.same_data(job):
                break
            builds.add(earlier.build)
        else:
            if len(builds) == 1:
                return builds.pop(), found
    return None
