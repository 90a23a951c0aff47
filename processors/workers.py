"""The feature workers of a build on this machine: started, watched, started again after a crash, ended."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from lit.processors.job import FrozenJob
from lit.processors.watch import TELL, WorkerReport
from lit.streams.atomic import write_file
from lit.streams.errors import FaultError, UserError
from lit.streams.tick import from_iso, iso
from lit.streams.workspace import Workspace

#: A feature worker that crashed is started again this often; its finished chunks are kept.
RESTARTS = 3
#: A worker that told nothing for so long beyond what a script may take does not even run its watch any more.
SILENT_SECONDS = 30.0
_TAIL_BYTES = 64 * 1024
#: How long a worker may take to tell where it hangs.
_TELL_SECONDS = 5.0


class Limits(msgspec.Struct, frozen=True):
    """What a worker may take: seconds for one call of a script, MB of memory beyond what it starts with."""

    script_seconds: float = 60.0
    memory_mb: int = 4096


class ProcessEntry(msgspec.Struct):
    """A process in `pids.json`, under its pid."""

    role: str
    status: str
    started: str
    ended: str | None = None


class WorkerPool:
    """Feature workers as child processes; a context manager that ends them.

    Parameters
    ----------
    workspace, job, logs
        The build, and its folder.
    bootstrap
        Kafka.
    count
        How many; none: the build is left to workers started elsewhere.
    limits
        What each may take.
    """

    def __init__(
        self, workspace: Workspace, job: FrozenJob, logs: Path, bootstrap: str, count: int, limits: Limits
    ) -> None:
        self._workspace, self._job, self._logs = workspace, job, logs
        self._bootstrap, self._limits = bootstrap, limits
        self._restarts = 0
        self._entries = {str(os.getpid()): ProcessEntry("build", "running", _now())}
        self._processes = [self._start() for _ in range(count)]
        self._write()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def check(self) -> None:
        """Start again what crashed.

        Raises
        ------
        UserError
            If a worker ended over a mistake of a user: a script that fails, hangs or takes too much memory.
        FaultError
            If workers keep crashing.
        """
        for number, process in enumerate(self._processes):
            held = process.poll() is None and self._ended_by_script(process)
            if process.poll() is None:
                continue
            code = UserError.exit_code if held else process.wait()
            self._ended(process)
            if code in (1, 2) or self._restarts == RESTARTS:
                raise self._failure(code)
            self._restarts += 1
            self._processes[number] = self._start()
            self._write()

    def reports(self) -> list[WorkerReport]:
        """Return what workers of this attempt say, those on other machines too."""
        return read_reports(self._logs, self._job.attempt)

    def end(self) -> None:
        """End all workers at once: their finished chunks are whole, and nothing else of them is worth a wait."""
        for process in self._processes:
            running = process.poll() is None
            process.kill()
            process.wait()
            self._ended(process, "ended" if running else None)
        driver = self._entries[str(os.getpid())]
        driver.status, driver.ended = "ended", _now()
        self._write()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lit.cli", "worker", "features", "--team", self._workspace.team]
        command += ["--build", str(self._job.build), "--script-seconds", str(self._limits.script_seconds)]
        with (self._logs / "workflow.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--memory-mb", str(self._limits.memory_mb)],
                env={**os.environ, "LIT_DATA": str(self._workspace.data), "LIT_KAFKA": self._bootstrap},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._entries[str(process.pid)] = ProcessEntry("data_worker", "running", _now())
        return process

    def _ended_by_script(self, process: subprocess.Popen[bytes]) -> bool:
        """End a worker that gives no sign, as in native code that holds Python; returns whether a script does so."""
        report = next((one for one in self.reports() if one.pid == process.pid), None)
        allowed = self._limits.script_seconds + SILENT_SECONDS
        told = report.updated if report else from_iso(self._entries[str(process.pid)].started) / 1e9
        if time.time() - told < allowed:
            return False
        begin = (self._logs / "workflow.log").stat().st_size
        process.send_signal(TELL)
        try:
            process.wait(_TELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        place = self._told_place(begin)
        with (self._logs / "workflow.log").open("a") as log:
            what = place or "it does not answer"
            log.write(f"lit: worker {process.pid} was ended after {allowed:.0f} s without a sign: {what}\n")
        return bool(place)

    def _told_place(self, begin: int) -> str:
        """Return which feature a worker told to be in, in the log from byte `begin` on; empty: in none."""
        with (self._logs / "workflow.log").open("rb") as log:
            log.seek(begin)
            text = log.read(_TAIL_BYTES).decode(errors="replace")
        for script, line in re.findall(r'File "([^"/]+)\.py", line (\d+)', text):
            names = [name for name, one in self._job.features.items() if one.script == script]
            if names:
                feature = " or ".join(map(repr, names))
                return f"feature {feature}: script {script!r}, line {line} does not return"
        return ""

    def _ended(self, process: subprocess.Popen[bytes], status: str | None = None) -> None:
        entry = self._entries[str(process.pid)]
        if entry.ended is None:
            entry.status, entry.ended = status or f"exit {process.returncode}", _now()

    def _write(self) -> None:
        write_file(self._logs / "pids.json", msgspec.json.format(msgspec.json.encode(self._entries), indent=1))

    def _failure(self, code: int) -> UserError | FaultError:
        log = self._logs / "workflow.log"
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
        marks = (" ERROR ", " CRITICAL ")
        said = next((x for x in reversed(lines) if x.startswith("lit: ") or any(mark in x for mark in marks)), "")
        text = said.split(": ", 1)[-1] if said else f"a feature worker ended with code {code}"
        if "MemoryError" in text or "Unable to allocate" in text:
            text += f" (a worker may take {self._limits.memory_mb} MB: hold less at a time, or allow more: --memory-mb)"
            code = 2
        text = f"{text} (see {log})"
        return UserError(text) if code == 2 else FaultError(text)


def report_folder(logs: Path, attempt: int) -> Path:
    """Return where workers of an attempt report."""
    return logs / "workers" / str(attempt)


def read_reports(logs: Path, attempt: int) -> list[WorkerReport]:
    """Return the reports of an attempt's workers."""
    found = []
    for path in sorted(report_folder(logs, attempt).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=WorkerReport))
        except (OSError, msgspec.MsgspecError):
            continue  # being replaced, or of a machine that is gone
    return found


def _now() -> str:
    return iso(time.time_ns() // 1_000_000 * 1_000_000)
