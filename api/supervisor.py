"""Keeps worker processes running: one thread that starts, watches and stops them.

The thread starts every child, since the kernel ties a child's life to the thread that started it (see `bound`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil

from lit.api.auth.keys import write_private
from lit.api.bound import bound_argv
from lit.api.errors import NotFoundError
from lit.api.reconcile import (
    Forget,
    Promote,
    Start,
    StartNext,
    Stop,
    StopNext,
    WorkerState,
    after_exit,
    plan,
    settled,
    started,
)
from lit.api.workers import Survivor, WorkerSpec, WorkerStatus, last_sentence, rotate

log = logging.getLogger(__name__)

#: How often children are looked at; files are read anew every `LOOK_SECONDS`, or at once after `wake`.
TICK_SECONDS = 0.2
LOOK_SECONDS = 2.0
#: A worker commits and leaves its group within this time, else it is killed.
STOP_SECONDS = 15.0
#: Ends the key of a successor's process.
NEXT = "+"


class Supervisor:
    """Supervises what `desired` returns.

    Parameters
    ----------
    desired
        Returns the workers that should run; called in the supervisor's thread.
    folder
        The server's private folder: the state file is kept there.
    environment
        The children's environment.
    """

    def __init__(
        self, desired: Callable[[], list[WorkerSpec]], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._desired = desired
        self._file = folder / "workers.json"
        self._environment = dict(os.environ if environment is None else environment)
        self._known: dict[str, WorkerState] = {}
        self._next: dict[str, WorkerState] = {}
        self._children: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        self._stopping: dict[str, float] = {}
        self._lock = threading.Lock()
        self._look = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin to supervise."""
        self._thread.start()

    def stop(self) -> None:
        """Stop all workers in order and end."""
        self._end.set()
        self._look.set()
        if self._thread.is_alive():
            self._thread.join()

    def statuses(self) -> list[WorkerStatus]:
        """Return what each worker is doing, by name."""
        with self._lock:
            known, now = dict(self._known), time.monotonic()
        return [_status(state, now) for _, state in sorted(known.items())]

    def restart(self, name: str) -> None:
        """Start a worker anew, or a successor of it; one that failed or is in back-off starts at once."""
        with self._lock:
            state = self._known.get(name)
            if state is None:
                raise NotFoundError(f"there is no worker {name!r}")
            if state.pid is not None and state.spec.handover:
                self._known[name] = replace(state, renew=True)
                if name + NEXT not in self._children:
                    self._next.pop(name, None)
            elif state.pid is not None:
                self._signal(name)
                self._known[name] = replace(state, failures=0)
            else:
                self._known[name] = replace(state, status="backoff", not_before=0.0, failures=0)
        self._look.set()

    def wake(self) -> None:
        """Look at once at what should run."""
        self._look.set()

    def _run(self) -> None:
        self._end_survivors()
        specs: list[WorkerSpec] = []
        looked = float("-inf")
        while not self._end.is_set():
            if self._look.is_set() or time.monotonic() - looked >= LOOK_SECONDS:
                self._look.clear()
                try:
                    specs = self._desired()
                except Exception:  # a fault of the moment must not end supervision
                    log.exception("what should run could not be found out; all stays as it is")
                looked = time.monotonic()
            with self._lock:
                self._reap()
                self._act(specs)
            self._look.wait(TICK_SECONDS)
        self._stop_all()

    def _act(self, specs: list[WorkerSpec]) -> None:
        changed = False
        ready = {name for name, state in self._next.items() if state.pid and state.spec.ready.exists()}
        for action in plan(specs, self._known, time.monotonic(), self._next, ready):
            match action:
                case Start(spec):
                    self._next.pop(spec.name, None)
                    self._start(spec)
                    changed = True
                case StartNext(spec):
                    self._start_next(spec)
                    changed = True
                case StopNext(name):
                    self._signal(name + NEXT)
                case Promote(name):
                    self._known[name] = replace(self._next.pop(name), restarts=self._known[name].restarts + 1)
                    self._children[name] = self._children.pop(name + NEXT)
                    changed = True
                case Stop(name):
                    self._signal(name)
                case Forget(name):
                    del self._known[name]
                    self._next.pop(name, None)
        if changed:
            self._write_survivors()

    def _start(self, spec: WorkerSpec) -> None:
        previous, now = self._known.get(spec.name), time.monotonic()
        try:
            child = self._spawn(spec)
        except OSError as error:  # no space for its log, or no process to be had: tried again later
            failed = started(previous, spec, 0, now)
            said = f"could not be started: {error}"
            self._known[spec.name] = after_exit(failed, 1, said, now, random.random())
            log.error("worker %s %s", spec.name, said)
            return
        self._known[spec.name] = started(previous, spec, child.pid, now)
        log.info("worker %s started as process %d", spec.name, child.pid)

    def _start_next(self, spec: WorkerSpec) -> None:
        """Start a successor of a running worker."""
        previous, now = self._next.get(spec.name), time.monotonic()
        spec.ready.unlink(missing_ok=True)
        try:
            child = self._spawn(spec, self._known[spec.name].pid)
        except OSError as error:
            said = f"could not be started: {error}"
            self._next[spec.name] = after_exit(started(previous, spec, 0, now), 1, said, now, random.random())
            return
        self._next[spec.name] = started(previous, spec, child.pid, now)
        log.info("successor of worker %s started as process %d", spec.name, child.pid)

    def _spawn(self, spec: WorkerSpec, after: int | None = None) -> subprocess.Popen[bytes]:
        """Start a worker, or a successor of process `after`."""
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        rotate(spec.log)
        with spec.log.open("ab") as out:
            begin = out.tell()
            child = subprocess.Popen(
                bound_argv(spec.argv if after is None else spec.successor_argv(after)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,  # Ctrl-C reaches the server alone, which stops its workers in order
            )
        self._children[spec.name if after is None else spec.name + NEXT] = child, begin
        return child

    def _signal(self, name: str) -> None:
        """Ask a worker to end (once), or kill it when it takes too long."""
        child, now = self._children[name][0], time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            if name not in self._stopping:
                self._stopping[name] = now
                child.send_signal(signal.SIGTERM)
            elif now - self._stopping[name] > STOP_SECONDS:
                log.warning("worker %s did not end within %.0f s: killed", name, STOP_SECONDS)
                child.kill()

    def _reap(self) -> None:
        now = time.monotonic()
        for name, (child, begin) in list(self._children.items()):
            code = child.poll()
            if code is None:
                if not name.endswith(NEXT):
                    self._known[name] = settled(self._known[name], now)
                if name in self._stopping:
                    self._signal(name)
                continue
            del self._children[name]
            if name.endswith(NEXT):
                self._next_ended(name.removesuffix(NEXT), code, begin)
                continue
            state = self._known[name]
            if self._stopping.pop(name, None) is not None:
                self._known[name] = replace(state, status="backoff", pid=None, since=now, not_before=now)
                continue
            self._known[name] = after_exit(state, code, last_sentence(state.spec.log, begin), now, random.random())
            if code:
                log.warning("worker %s ended (code %d): %s", name, code, self._known[name].last_error)
            else:
                log.info("worker %s has ended", name)

    def _next_ended(self, name: str, code: int, begin: int) -> None:
        """Note that a successor ended before it took over; the worker before it goes on."""
        state, now = self._next[name], time.monotonic()
        if self._stopping.pop(name + NEXT, None) is not None:
            del self._next[name]
            return
        sentence = last_sentence(state.spec.log, begin, self._known[name].pid)  # both write there
        ended = after_exit(state, code, sentence, now, random.random())
        self._next[name] = ended
        said = f"the change is not in effect, the worker before it goes on: {ended.last_error}"
        self._known[name] = replace(self._known[name], last_error=said, renew=False)
        log.warning("successor of worker %s ended (code %d): %s", name, code, ended.last_error)

    def _stop_all(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS + 2.0
        while self._children and time.monotonic() < deadline:
            with self._lock:
                for name in self._children:
                    self._signal(name)
                self._reap()
            time.sleep(0.05)
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()

    def _write_survivors(self) -> None:
        alive = {}
        for name, (child, _) in self._children.items():
            with contextlib.suppress(psutil.Error):
                created = psutil.Process(child.pid).create_time()
                state = self._next[name.removesuffix(NEXT)] if name.endswith(NEXT) else self._known[name]
                alive[name] = Survivor(child.pid, created, list(state.spec.argv))
        try:
            write_private(self._file, msgspec.json.encode(alive))
        except OSError as error:
            log.error("%s could not be written: %s", self._file, error)

    def _end_survivors(self) -> None:
        """Kill workers of a server that was killed, where the kernel did not (it does on Linux)."""
        try:
            alive = msgspec.json.decode(self._file.read_bytes(), type=dict[str, Survivor])
        except (FileNotFoundError, msgspec.MsgspecError):
            return
        for survivor in alive.values():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(survivor.pid)
                if process.create_time() == survivor.create_time:
                    process.kill()


def _status(state: WorkerState, now: float) -> WorkerStatus:
    since = datetime.fromtimestamp(time.time() - (now - state.since), UTC)
    return WorkerStatus(
        name=state.spec.name,
        role=state.spec.role,
        status=state.status,
        pid=state.pid,
        restarts=state.restarts,
        since=since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        last_error=state.last_error,
    )
