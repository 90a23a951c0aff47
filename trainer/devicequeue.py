"""One run at a time on each device, first come first served, across processes and without a server.

A waiting run holds a ticket, a file named by number. Tickets of dead processes count for nothing, so nothing has to
be cleaned up after a crash.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lit.streams.atomic import write_file
from lit.streams.workspace import checked_name
from lit.trainer.processfolder import lives

POLL_SECONDS = 0.2


@contextmanager
def turn(data: Path, device: str, name: str, interrupted: Callable[[], bool]) -> Iterator[bool]:
    """Wait for the device, hold it within the block; yields False if interrupted while waiting."""
    folder = data / ".lit" / "devices" / checked_name(device.replace(":", "-"), "device")
    folder.mkdir(parents=True, exist_ok=True)
    ticket = _take_ticket(folder, name)
    try:
        while waiting(folder)[0][0] != ticket:
            if interrupted():
                yield False
                return
            time.sleep(POLL_SECONDS)
        yield True
    finally:
        ticket.unlink(missing_ok=True)


def queue(data: Path, device: str) -> list[str]:
    """List the runs on a device by name, the one that has it first."""
    folder = data / ".lit" / "devices" / checked_name(device.replace(":", "-"), "device")
    return [name for _, name in waiting(folder)] if folder.is_dir() else []


def waiting(folder: Path) -> list[tuple[Path, str]]:
    """List tickets of living processes with their run's name, in order; drop the others."""
    found = []
    for path in sorted(folder.glob("*.ticket")):
        try:
            content = json.loads(path.read_text("utf-8"))
            alive = lives(content["pid"], content["create_time"])
        except (OSError, ValueError, KeyError):
            alive = False
        if alive:
            found.append((path, str(content["name"])))
        else:
            path.unlink(missing_ok=True)
    return found


def _take_ticket(folder: Path, name: str) -> Path:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        numbers = [int(path.stem) for path in folder.glob("*.ticket")]
        path = folder / f"{max(numbers, default=0) + 1:012d}.ticket"
        content = {"pid": os.getpid(), "create_time": psutil.Process().create_time(), "name": name}
        write_file(path, json.dumps(content).encode())
        return path
