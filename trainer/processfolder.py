"""A folder that a process of its own works on: its files, its log, and whether the process lives."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import psutil

from lit.streams.atomic import write_file
from lit.streams.tick import iso_ms
from lit.trainer.environment import child_environment

#: What has been asked to start and has no process after this long did not start.
START_SECONDS = 60.0
Status = Literal["queued", "running", "paused", "stopped", "finished", "failed"]
ENDED: tuple[Status, ...] = ("paused", "stopped", "finished", "failed")


def lives(pid: int, create_time: float) -> bool:
    """Tell whether this very process lives: same pid, same start, and no zombie that waits for its parent."""
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(create_time)) < 0.01
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class ProcessFolder(ABC):
    """A folder with session.txt (status, pid…) and log.txt; each file is written as a whole or not at all."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder."""

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder as a whole: readers see the old or the new one."""
        write_file(self.path / name, text.encode(), durable=True)

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file of the folder."""
        self.write(name, json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the folder; empty dict if it is not there."""
        path = self.path / name
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}

    def log(self, text: str) -> None:
        """Append a line with the time to log.txt."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as stream:
            stream.write(f"{iso_ms(time.time_ns())} {text}\n")

    def log_tail(self, lines: int = 20) -> list[str]:
        """Return the last lines of log.txt."""
        with (self.path / "log.txt").open("rb") as stream:
            stream.seek(max(0, (self.path / "log.txt").stat().st_size - 65_536))
            return stream.read().decode("utf-8", "replace").splitlines()[-lines:]

    def session(self) -> dict[str, Any]:
        """Return session.txt: status, pid, device…"""
        path = self.path / "session.txt"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in lines)}

    def set_session(self, **values: Any) -> None:
        """Change entries of session.txt."""
        merged = self.session() | values
        self.write("session.txt", "".join(f"{key}: {json.dumps(value)}\n" for key, value in merged.items()))

    def status(self) -> Status:
        """Return queued, running, paused, stopped, finished or failed; a dead process counts as failed."""
        session = self.session()
        stated: Status = session.get("status", "failed")
        if stated in ENDED or self.alive():
            return stated
        fresh = stated == "queued" and time.time() - float(session.get("requested", 0)) < START_SECONDS
        return "queued" if fresh and "pid" not in session else "failed"

    def alive(self) -> bool:
        """Tell whether its process lives."""
        session = self.session()
        return "pid" in session and lives(session["pid"], session.get("create_time", 0.0))

    def why_failed(self) -> str:
        """Return what made it fail: its own sentence, or the log's last lines if its process just ended."""
        stated = str(self.session().get("error") or "")
        return stated or f"its process ended; the log says: {' / '.join(self.log_tail(3))}"

    def active(self) -> bool:
        """Tell whether there is a process that can still be signalled."""
        return self.status() not in ENDED and self.alive()

    def spawn(self, module: str, *arguments: str) -> None:
        """Start the folder's process, which outlives this one; what it prints goes to log.txt."""
        with (self.path / "log.txt").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=child_environment(),
            )
        # A starter that lives on must collect its children, or dead ones look alive to others.
        with _collecting:
            _children.append(process)
            _children[:] = [child for child in _children if child.poll() is None]


_collecting = threading.Lock()
_children: list[subprocess.Popen[bytes]] = []
