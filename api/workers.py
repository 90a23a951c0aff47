"""What a worker is: its specification, its status and its log."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Status = Literal["running", "starting", "backoff", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A child process that should run.

    Parameters
    ----------
    name
        Unique within the supervisor, such as `demo/bars.us_equities`.
    role
        What it does: `stream`, `bars`, `sink`, `features`, `deployment`.
    argv
        Its command.
    log
        File that its standard output and error go to.
    revision
        Changes with the files that it depends on: another revision is another worker.
    handover
        Whether a successor is started while it runs, and takes over when it is ready (`successor_argv`).
    """

    name: str
    role: str
    argv: tuple[str, ...]
    log: Path
    revision: str = ""
    handover: bool = False

    @property
    def ready(self) -> Path:
        """File by which a successor says that it is ready."""
        return self.log.with_suffix(".ready")

    def successor_argv(self, pid: int) -> tuple[str, ...]:
        """Return the command of a successor of process `pid`."""
        return (*self.argv, "--after", str(pid), "--ready", str(self.ready))


class WorkerStatus(msgspec.Struct, frozen=True):
    """What a worker is doing, as `/api/status` shows it; `since` is ISO 8601 UTC."""

    name: str
    role: str
    status: Status
    pid: int | None
    restarts: int
    since: str
    last_error: str | None = None


class Survivor(msgspec.Struct, frozen=True):
    """A process in the state file: a pid alone says nothing, for pids are used again."""

    pid: int
    create_time: float
    argv: list[str]


#: A log grows to this size, then becomes `.1` (one is kept).
LOG_BYTES = 8 * 1024 * 1024


def rotate(log: Path, limit: int = LOG_BYTES) -> bool:
    """Copy a log that is too big to `.1` and empty it; its writer appends, so it goes on at the new end."""
    try:
        if log.stat().st_size <= limit:
            return False
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)
    except FileNotFoundError:
        return False
    return True


#: A level, as logs of either format have it.
_USUAL = re.compile(r' (WARNING|INFO|DEBUG) |"level": ?"(WARNING|INFO|DEBUG)"')


def last_sentence(log: Path, start: int = 0, other: int | None = None) -> str | None:
    """Return the last non-empty line that was written from byte `start` on, cut to 500 characters.

    Lines in which a logger says that process `other` wrote them are passed over. None too where the last line tells of
    usual work: who was killed while working has not said why.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(start, size), size - 16_384))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return None
    lines = [line for line in lines if other is None or str(other) not in line[:80]]
    if not lines or _USUAL.search(lines[-1][:200]):
        return None
    return lines[-1][:500]
