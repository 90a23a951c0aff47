"""Cachings as files: what a team wants cached, and how far each is; whoever runs them finds all of it there.

A wish (`{team}/raw/.caching/{key}.json`) is written by whoever wants a file cached or stopped; its status
(`{key}.status.json`) by the process that caches it. So a server that was killed goes on with what was wanted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Literal

import msgspec
import psutil

from lit.streams.atomic import write_file
from lit.streams.cache import CacheProgress, CachingStoppedError, cache_file
from lit.streams.cached import CachedFile, caching_folder
from lit.streams.errors import LitError, UserError
from lit.streams.parameters import effective
from lit.streams.sources import declared_parameters
from lit.streams.workspace import Workspace

State = Literal["waiting", "checking", "sending", "storing", "cached", "stopped", "failed"]
#: States of a caching that a process works on.
ACTIVE = ("checking", "sending", "storing")
#: The status file is written this often at the most.
_NOTE_SECONDS = 0.5


class Wish(msgspec.Struct, frozen=True):
    """That a file is to be cached (or, `run` false, that its caching is to stay stopped).

    Parameters
    ----------
    path
        Absolute.
    adapter, parameters
        The source adapter that reads it, and its parameters.
    since
        When it was wished for, seconds since the epoch: cachings run in this order.
    """

    path: str
    adapter: str
    parameters: dict[str, Any] = {}
    run: bool = True
    since: float = 0.0

    @property
    def key(self) -> str:
        """What its files are called."""
        return job_key(self.path)


class Status(msgspec.Struct, frozen=True):
    """How far a caching is; `bytes` of `total` are decompressed ones, times are seconds since the epoch."""

    state: State = "waiting"
    bytes: int = 0
    total: int = 0
    ticks: int = 0
    sent: int = 0
    rate: float = 0.0
    eta: float | None = None
    error: str | None = None
    began: float = 0.0
    updated: float = 0.0
    pid: int = 0
    created: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether the process that works on it runs."""
        try:
            return self.state in ACTIVE and psutil.Process(self.pid).create_time() == self.created
        except psutil.Error:
            return False


def job_key(path: str) -> str:
    """Return the key of a file's caching."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def want(workspace: Workspace, path: Path, adapter: str, parameters: Mapping[str, Any] | None = None) -> Wish:
    """Want a file cached; one that failed or was stopped is tried again.

    Raises
    ------
    UserError
        If the file, the adapter or a parameter is not there.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; check the path.")
    effective(declared_parameters(workspace, adapter), parameters or {}, adapter)
    wish = Wish(os.path.normpath(path.absolute()), adapter, dict(parameters or {}), since=time.time())
    if not status_of(workspace, wish.key).alive:
        _status_path(workspace, wish.key).unlink(missing_ok=True)
    _write_wish(workspace, wish)
    return wish


def stop(workspace: Workspace, path: str) -> bool:
    """Want a file's caching stopped; return whether one was wanted."""
    wish = wish_of(workspace, job_key(path))
    if wish is None or not wish.run:
        return False
    _write_wish(workspace, msgspec.structs.replace(wish, run=False))
    return True


def forget(workspace: Workspace, path: str) -> None:
    """Forget a file's wish and status."""
    for file in (_wish_path(workspace, job_key(path)), _status_path(workspace, job_key(path))):
        file.unlink(missing_ok=True)


def wishes(workspace: Workspace) -> list[Wish]:
    """Return all wishes, the oldest first; a damaged file is none."""
    if not workspace.path("raw").is_dir():
        return []
    found = []
    for path in caching_folder(workspace).glob("*.json"):
        if "." not in path.stem and (wish := wish_of(workspace, path.stem)):
            found.append(wish)
    return sorted(found, key=lambda wish: (wish.since, wish.path))


def wish_of(workspace: Workspace, key: str) -> Wish | None:
    """Return one wish."""
    try:
        return msgspec.json.decode(_wish_path(workspace, key).read_bytes(), type=Wish)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def status_of(workspace: Workspace, key: str) -> Status:
    """Return how far a caching is; `waiting` if nobody has begun it."""
    try:
        return msgspec.json.decode(_status_path(workspace, key).read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.MsgspecError):
        return Status()


def pending(workspace: Workspace) -> list[Wish]:
    """Return the wishes that somebody should work on, the oldest first."""
    over = ("cached", "failed", "stopped")
    return [wish for wish in wishes(workspace) if wish.run and status_of(workspace, wish.key).state not in over]


def run(
    workspace: Workspace,
    wish: Wish,
    bootstrap: str,
    topic: str,
    await_stored: Callable[[CachedFile], CachedFile],
    *,
    halt: Event | None = None,
    on_status: Callable[[Status], None] = lambda _: None,
) -> CachedFile:
    """Cache a file to its end, or as far as its user lets it; its status is kept up to date.

    Parameters
    ----------
    await_stored
        Returns once the store holds all ticks of a file that was sent.
    halt
        Set it to stop.
    on_status
        Is told each new status.

    Raises
    ------
    CachingStoppedError
        If it was stopped.
    UserError
        If the file cannot be taken, or another process is caching it.
    FaultError
        If Kafka or the store fail.
    """
    with _locked(workspace, wish):
        teller = _Teller(workspace, wish, on_status)
        try:
            teller.tell("checking", force=True)
            entry = cache_file(
                workspace,
                wish.adapter,
                Path(wish.path),
                bootstrap,
                topic,
                lambda _done, _total: teller.tell("sending"),
                parameters=wish.parameters,
                progress=teller.progress,
                stop=halt,
            )
            teller.tell("storing", force=True)
            entry = await_stored(entry)
            teller.tell("cached", force=True)
            return entry
        except CachingStoppedError:
            teller.tell("stopped", force=True)
            raise
        except UserError as error:
            teller.tell("failed", str(error), force=True)
            raise
        except LitError as error:  # tried again by whoever supervises
            teller.tell("waiting", str(error), force=True)
            raise
        except BaseException as error:
            teller.tell("failed", f"{type(error).__name__}: {error}", force=True)
            raise


class _Teller:
    """Writes a caching's status as it goes on."""

    def __init__(self, workspace: Workspace, wish: Wish, on_status: Callable[[Status], None]) -> None:
        self.progress = CacheProgress()
        self._path = _status_path(workspace, wish.key)
        self._on_status = on_status
        self._began = self._noted = time.time()
        self._created = psutil.Process().create_time()

    def tell(self, state: State, error: str | None = None, *, force: bool = False) -> None:
        now = time.time()
        if not force and now - self._noted < _NOTE_SECONDS:
            return
        self._noted = now
        done, total = self.progress.bytes, self.progress.total
        seconds = max(now - self._began, 1e-9)
        status = Status(
            state,
            done,
            total,
            self.progress.ticks,
            self.progress.sent,
            rate=self.progress.ticks / seconds,
            eta=seconds * (total - done) / done if state == "sending" and done else None,
            error=error,
            began=self._began,
            updated=now,
            pid=os.getpid(),
            created=self._created,
        )
        write_file(self._path, msgspec.json.encode(status), durable=True)
        self._on_status(status)


@contextmanager
def _locked(workspace: Workspace, wish: Wish) -> Iterator[None]:
    with (caching_folder(workspace) / f"{wish.key}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{wish.path} is being cached by another process: `lit files` shows how far it is"
            ) from None
        yield


def _write_wish(workspace: Workspace, wish: Wish) -> None:
    caching_folder(workspace)
    write_file(_wish_path(workspace, wish.key), msgspec.json.encode(wish), durable=True)


def _wish_path(workspace: Workspace, key: str) -> Path:
    return workspace.path("raw") / ".caching" / f"{key}.json"


def _status_path(workspace: Workspace, key: str) -> Path:
    return workspace.path("raw") / ".caching" / f"{key}.status.json"
