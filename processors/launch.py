"""Builds started and resumed by others than the one who waits: a process of its own, which outlives who started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from lit.features.schema import load_schema
from lit.features.schema_check import Change, differences, problems
from lit.processors.job import OnError, load_job, logs_folder, new_logs
from lit.processors.progress import view_build, write_status
from lit.streams.errors import UserError
from lit.streams.tick import iso
from lit.streams.workspace import Workspace


def launch(workspace: Workspace, schema: str, bootstrap: str, *, workers: int = 1, on_error: OnError = "stop") -> int:
    """Start a build; returns its number at once.

    Raises
    ------
    UserError
        If the schema or one of its features is unusable.
    """
    if found := problems(workspace, load_schema(workspace, schema)):
        raise UserError("; ".join(found))
    logs = new_logs(workspace)
    note_start(workspace, int(logs.name), schema)
    command = ["start", schema, "--number", logs.name, "--workers", str(workers), "--on-error", on_error]
    _spawn(workspace, int(logs.name), bootstrap, command)
    return int(logs.name)


def relaunch(workspace: Workspace, number: int, bootstrap: str, *, workers: int = 1) -> None:
    """Go on with a build that has ended without its dataset.

    Raises
    ------
    UserError
        If it is running or complete.
    """
    view = view_build(workspace, number)
    if view.status in ("starting", "running", "complete"):
        raise UserError(f"build {number} is {view.status}: there is nothing to resume")
    _spawn(workspace, number, bootstrap, ["resume", str(number), "--workers", str(workers)])


def note_start(workspace: Workspace, number: int, schema: str) -> None:
    """Write down when a build began, and of what."""
    now = iso(time.time_ns() // 1_000_000 * 1_000_000)
    (logs_folder(workspace, number) / "started.txt").write_text(f"{now}\n{schema}\n", encoding="utf-8")


def build_differences(workspace: Workspace, before: int, after: int) -> list[Change]:
    """Return what differs between two builds as they were frozen: schema, files, features, adapter, packages."""
    old, new = load_job(workspace, before), load_job(workspace, after)
    found = differences(old.schema, new.schema)
    for path in sorted(old.files.keys() & new.files.keys()):
        if old.files[path] != new.files[path]:
            found.append(Change(f"file {path}", old.files[path], new.files[path]))
    for name in sorted(old.features.keys() & new.features.keys()):
        one, other = old.features[name], new.features[name]
        for what in ("script", "digest", "params"):
            if getattr(one, what) != getattr(other, what):
                found.append(Change(f"feature {name}: {what}", getattr(one, what), getattr(other, what)))
    if old.adapter_digest != new.adapter_digest:
        found.append(Change("adapter's source", old.adapter_digest, new.adapter_digest))
    if old.versions != new.versions:
        found.append(Change("versions", old.versions, new.versions))
    return found


def _spawn(workspace: Workspace, number: int, bootstrap: str, command: list[str]) -> None:
    logs = logs_folder(workspace, number)
    write_status(logs, "starting")
    environment = {**os.environ, "LIT_DATA": str(workspace.data), "LIT_KAFKA": bootstrap}
    with (logs / "workflow.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "lit.cli", "build", *command, "--team", workspace.team],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
