"""A feature worker from within: it tells how far it is, and ends itself with a sentence when a script never returns.

The report is a small file, `logs/{build}/workers/{host}-{pid}.json`, which whoever follows the build reads.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lit.streams.atomic import write_file
from lit.streams.errors import UserError

if TYPE_CHECKING:
    from lit.processors.features import FeatureWorker, SymbolBuild

log = logging.getLogger("data_worker")

_EVERY_SECONDS = 0.25
#: Asks a worker that does not answer where it is; it ends over that.
TELL = signal.SIGVTALRM
#: Lines a second of scripts' own logging that are kept.
LINES_A_SECOND = 50


class SymbolReport(msgspec.Struct, frozen=True):
    """How far a symbol is: ticks done with, samples made by this worker."""

    ticks: int
    samples: int


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker is doing; `updated` is Unix time, `memory` its resident bytes."""

    host: str
    pid: int
    updated: float
    symbols: dict[str, SymbolReport] = {}
    feature: str = ""
    since: float = 0.0
    memory: int = 0


class Watch(threading.Thread):
    """Writes a worker's report, and ends the process when one call of a script takes too long.

    Parameters
    ----------
    worker
        Who is watched.
    folder
        Where the report goes.
    seconds
        How long one call may take.
    driven
        Whether the build still goes on; a worker of a build that has ended ends too.
    end
        Called with an exit code to end the process.
    """

    def __init__(
        self,
        worker: FeatureWorker,
        folder: Path,
        seconds: float,
        driven: Callable[[], bool] = lambda: True,
        end: Callable[[int], None] = os._exit,
    ) -> None:
        super().__init__(name="watch", daemon=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._worker, self._seconds, self._driven, self._end = worker, seconds, driven, end
        self._path = folder / f"{socket.gethostname()}-{os.getpid()}.json"
        self._watched = threading.main_thread().ident
        self._ended = threading.Event()

    def run(self) -> None:
        """Report and watch until stopped."""
        while not self._ended.wait(_EVERY_SECONDS):
            self.report()
            self._judge()
            if not self._driven():
                log.info("the build is over, and so is this worker")
                logging.shutdown()
                self._end(0)

    def stop(self) -> None:
        """Report once more and end."""
        self._ended.set()
        self.join()
        self.report()

    def report(self) -> None:
        """Write the report now."""
        builds = self._worker.builds
        doing = next((build.doing for build in builds if build.doing), None)
        report = WorkerReport(
            socket.gethostname(),
            os.getpid(),
            time.time(),
            {build.symbol: SymbolReport(build.settled, build.samples) for build in builds},
            doing.feature if doing else "",
            time.time() - (time.monotonic() - doing.since) if doing else 0.0,
            int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        )
        write_file(self._path, msgspec.json.encode(report))

    def _judge(self) -> None:
        for build in self._worker.builds:
            doing = build.doing
            if doing and time.monotonic() - doing.since > self._seconds:
                log.error("%s", self._sentence(build, doing.feature, doing.index))
                logging.shutdown()
                self._end(UserError.exit_code)

    def _sentence(self, build: SymbolBuild, feature: str, index: int) -> str:
        script = self._worker.job.frozen.features[feature].script
        frame = sys._current_frames().get(self._watched or 0)
        line = ""
        while frame is not None and not line:
            if frame.f_code.co_filename == f"{script}.py":
                line = f", line {frame.f_lineno}"
            frame = frame.f_back
        return (
            f"samples from {build.symbol} tick {index} on, feature {feature!r}: script {script!r}{line} takes longer "
            f"than {self._seconds:g} s: let it do less at a sample, or allow more with --script-seconds"
        )


def tell_when_asked() -> None:
    """Let `TELL` print where each thread is and end the process, even if native code never lets Python run again."""
    faulthandler.register(TELL, chain=True)


def limit_memory(size: int) -> None:
    """Let this process allocate at most `size` bytes more: a script's hunger ends as a MemoryError of its own."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (total, resource.getrlimit(resource.RLIMIT_AS)[1]))


class ScriptLines(logging.Filter):
    """Passes a bounded number of lines a second of what scripts log, and tells how many it held back.

    Scripts are compiled under relative names, which no module of an installed package has.
    """

    def __init__(self, lines: int = LINES_A_SECOND) -> None:
        super().__init__()
        self._lines = lines
        self._second = self._passed = self._held = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about a record."""
        if Path(record.pathname).is_absolute():
            return True
        second = int(record.created)
        if second != self._second:
            if self._held:
                record.msg = f"{record.getMessage()} ({self._held} lines of scripts held back before this one)"
                record.args = ()
            self._second, self._passed, self._held = second, 0, 0
        self._passed += 1
        if self._passed > self._lines:
            self._held += 1
            return False
        return True


class Printed:
    """A `sys.stdout` whose lines become log records, so that what scripts print is dated and bounded too."""

    def __init__(self) -> None:
        self._log = logging.getLogger("print")
        self._rest = ""

    def write(self, text: str) -> int:
        """Take text; whole lines are logged."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                record = self._log.makeRecord(self._log.name, logging.INFO, "print", 0, line, (), None, "print")
                self._log.handle(record)
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are logged as they end."""
