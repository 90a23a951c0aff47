"""How a build is doing, as its driver writes it down and everyone else reads it: `logs/{build}/progress.json`."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from lit.processors.job import FrozenJob, build_numbers, last_build, load_job, logs_folder
from lit.processors.watch import WorkerReport
from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

Stage = Literal["cache", "features", "merge", "done"]
#: The rate is that of the last so many seconds: what a user sees is what happens now.
_RATE_SECONDS = 10.0
#: How long a build that was launched may take until its process reports.
_START_SECONDS = 60.0


class WorkerView(msgspec.Struct, frozen=True):
    """A worker as users see it; `feature` and `seconds` tell what it computes, and for how long already."""

    host: str
    pid: int
    ticks: int
    samples: int
    feature: str
    seconds: float
    memory_mb: int
    silent: float


class BuildProgress(msgspec.Struct, frozen=True):
    """How far a build is.

    Parameters
    ----------
    stage
        `cache`, `features`, `merge` or `done`.
    done, total
        Of the stage: bytes, ticks or samples.
    samples
        Samples made so far.
    rate
        Of the stage, a second.
    eta_seconds
        Until the stage ends; None: not known yet.
    updated
        Unix time.
    """

    stage: Stage
    done: int = 0
    total: int = 0
    detail: str = ""
    samples: int = 0
    rate: float = 0.0
    eta_seconds: float | None = None
    workers: list[WorkerView] = []
    updated: float = 0.0


class BuildView(msgspec.Struct, frozen=True):
    """A build as lists show it.

    Parameters
    ----------
    status
        `starting`, `running`, `complete`, `stopped`, `failed` or `crashed` (its driver is gone without a word).
    message
        What went wrong.
    """

    build: int
    schema: str
    status: str
    message: str
    started: str
    ticks: int
    progress: BuildProgress | None


class Meter:
    """Turns counts into a rate and the time left, and writes the progress file.

    Parameters
    ----------
    path
        The progress file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stage = ""
        self._points: list[tuple[float, int]] = []

    def __call__(
        self,
        stage: Stage,
        done: int,
        total: int,
        detail: str = "",
        samples: int = 0,
        reports: Sequence[WorkerReport] = (),
    ) -> BuildProgress:
        """Note a count and return the progress."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._points = stage, []
        self._points.append((now, done))
        while self._points[0][0] < now - _RATE_SECONDS and len(self._points) > 2:
            self._points.pop(0)
        elapsed = now - self._points[0][0]
        rate = (done - self._points[0][1]) / elapsed if elapsed > 0 else 0.0
        eta = (total - done) / rate if rate > 0 else None
        progress = BuildProgress(
            stage, done, total, detail, samples, rate, eta, [_view(one) for one in reports], time.time()
        )
        write_file(self._path, msgspec.json.encode(progress))
        return progress


def _view(report: WorkerReport) -> WorkerView:
    now = time.time()
    return WorkerView(
        report.host,
        report.pid,
        sum(symbol.ticks for symbol in report.symbols.values()),
        sum(symbol.samples for symbol in report.symbols.values()),
        report.feature,
        max(now - report.since, 0.0) if report.feature else 0.0,
        report.memory >> 20,
        max(now - report.updated, 0.0),
    )


@contextmanager
def driving(logs: Path, what: str) -> Iterator[None]:
    """Be the driver of a build: while this is held, and no longer, the build counts as running.

    Parameters
    ----------
    logs
        Folder that only one driver may have.
    what
        What to call it in the error.

    Raises
    ------
    UserError
        If another process drives it.
    """
    with (logs / ".driver").open("ab") as file:
        deadline = time.monotonic() + 1.0  # who only asks has the lock for a moment, too
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"{what} is running already: `lit build list` tells how far it is") from None
                time.sleep(0.05)
        yield


def is_driven(logs: Path) -> bool:
    """Whether a process drives the build now."""
    try:
        with (logs / ".driver").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def write_status(logs: Path, text: str) -> None:
    """Write `status.txt`."""
    write_file(logs / "status.txt", f"{text}\n".encode())


def read_progress(logs: Path) -> BuildProgress | None:
    """Return how far a build is, or was when it ended."""
    try:
        return msgspec.json.decode((logs / "progress.json").read_bytes(), type=BuildProgress)
    except (OSError, msgspec.MsgspecError):
        return None


def view_build(workspace: Workspace, number: int) -> BuildView:
    """Return a build as lists show it.

    Raises
    ------
    UserError
        If the team has no such build.
    """
    logs = logs_folder(workspace, number)
    path = logs / "status.txt"
    status, _, message = (path.read_text("utf-8") if path.exists() else "starting").strip().partition(": ")
    silent = time.time() - (path if path.exists() else logs).stat().st_mtime
    if status in ("starting", "running") and not is_driven(logs) and silent > _START_SECONDS * (status == "starting"):
        status, message = "crashed", "its driver is gone: `lit build resume` goes on where it was"
    job = _job(workspace, number)
    started = (logs / "started.txt").read_text("utf-8").split() if (logs / "started.txt").exists() else ["", ""]
    return BuildView(
        number,
        job.schema.name if job else started[-1],
        status,
        message,
        started[0],
        job.ticks if job else 0,
        read_progress(logs),
    )


def list_builds(workspace: Workspace) -> list[BuildView]:
    """Return a team's builds, newest first."""
    return [view_build(workspace, number) for number in reversed(build_numbers(workspace))]


def last_complete(workspace: Workspace, schema: str) -> FrozenJob | None:
    """Return the job of a schema's last complete build; None: it has none."""
    for number in reversed(build_numbers(workspace)):
        logs = workspace.path("logs", str(number))
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            if (logs / f"{schema}.json").exists() and (logs / "status.txt").read_text("utf-8").strip() == "complete":
                return load_job(workspace, number)
    return None


def find_build(workspace: Workspace, name: str) -> int:
    """Return the number of a build: a number, `last`, or the last one of a schema.

    Raises
    ------
    UserError
        If there is none.
    """
    if name.isdigit():
        logs_folder(workspace, int(name))
        return int(name)
    if name == "last" and last_build(workspace):
        return last_build(workspace)
    own = [view.build for view in list_builds(workspace) if view.schema == name]
    if not own:
        raise UserError(f"team {workspace.team!r} has no build of {name!r}: name a number, a schema, or last")
    return own[0]


def stop_build(workspace: Workspace, number: int) -> None:
    """Ask a build to stop; its finished chunks stay, so that it can be resumed.

    Raises
    ------
    UserError
        If it is not running.
    """
    view = view_build(workspace, number)
    if view.status != "running":
        raise UserError(f"build {number} is not running: it is {view.status}")
    (logs_folder(workspace, number) / "stop").touch()


def log_tail(workspace: Workspace, number: int, lines: int = 100, after: int | None = None) -> tuple[str, int]:
    """Return the last lines of a build's log, or what was written from byte `after` on; and the byte to go on from."""
    path = logs_folder(workspace, number) / "workflow.log"
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            if after is not None and after <= end:
                file.seek(after)
                return file.read(1 << 20).decode(errors="replace"), file.tell()
            file.seek(max(0, end - 512 * max(lines, 1)))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "", 0
    return "\n".join(text.splitlines()[-lines:]) + ("\n" if text else ""), end


def _job(workspace: Workspace, number: int) -> FrozenJob | None:
    try:
        return load_job(workspace, number)
    except (UserError, msgspec.MsgspecError):
        return None
