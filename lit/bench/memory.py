"""The largest memory of every process of a running LIT while a file goes through it as a stream."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from lit.streams.errors import FaultError
from lit.streams.store_open import open_store, running_server

TEAM, STREAM = "bench", "tape"
#: How often memory is looked at, and how long a tape, and the start before it, may take.
_EVERY_SECONDS = 0.1
_PATIENCE_SECONDS = 1200.0
_START_SECONDS = 180.0


def peaks(data: Path, file: Path, ticks: int) -> Counter[str]:
    """Return each process' largest resident memory (bytes) until the store has all ticks of the file.

    The processes are the broker, the server (API and embedded store), and the workers stream, bars and sink.
    """
    folder = data / TEAM / "streams"
    folder.mkdir(parents=True)
    stream = {"adapter": {"name": "replay"}, "parameters": {"paths": [str(file)], "speed": 1e9}}
    (folder / f"{STREAM}.json").write_text(json.dumps(stream))
    largest: Counter[str] = Counter()
    with lit_up(data) as server:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        with open_store(data, None) as stores:
            store = stores.team(TEAM)
            while store.count(STREAM) < ticks:
                _check(server, deadline, "the tape was not in the store in time")
                for _ in range(10):
                    largest |= _memory(server.pid)
                    time.sleep(_EVERY_SECONDS)
    return largest


@contextlib.contextmanager
def lit_up(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield `lit up` over an empty data root once it runs, in a process of its own with its own broker and store."""
    environment = {**os.environ, "LIT_DATA": str(data), "LIT_PORT": "0", "LIT_LOG_LEVEL": "WARNING"}
    for name in ("LIT_KAFKA", "LIT_CLICKHOUSE"):
        environment.pop(name, None)
    server = subprocess.Popen([sys.executable, "-m", "lit.cli", "up"], env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not running_server(data):
            _check(server, deadline, "`lit up` of the benchmark did not start")
            time.sleep(_EVERY_SECONDS)
        yield server
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def _check(server: subprocess.Popen[bytes], deadline: float, late: str) -> None:
    if server.poll() is not None:
        raise FaultError(f"`lit up` of the benchmark ended with code {server.returncode}")
    if time.monotonic() > deadline:
        raise FaultError(late)


def _memory(server: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for process in (psutil.Process(server), *psutil.Process(server).children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            found[_name(process, server)] = process.memory_info().rss
    return found


def _name(process: psutil.Process, server: int) -> str:
    if process.pid == server:
        return "server"
    words = process.cmdline()
    if "worker" in words:
        return words[words.index("worker") + 1]
    if any("broker_child" in word for word in words):
        return "broker_keeper"
    return "broker" if "java" in process.name() else process.name()
