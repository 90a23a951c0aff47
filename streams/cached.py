"""Which files of a team were sent to its tick topics, and what is known of each: `{team}/raw/.cached.json`."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from lit.streams.atomic import write_file
from lit.streams.store import TickStore
from lit.streams.workspace import Workspace


class CachedFile(msgspec.Struct, frozen=True):
    """What is known of a file that was sent.

    Parameters
    ----------
    segments
        (symbol, ticks) in order of first appearance.
    first, last
        Time of its first and last tick, ns as text.
    cached
        Whether the store has been seen to hold all of its ticks.
    parameters
        Those of the adapter that differ from its defaults.
    mtime_ns
        When the file was last changed, as it was sent.
    adapter_digest
        Of the adapter and its parameters, as they were.
    skipped
        Rows that are no ticks, by reason.
    """

    path: str
    adapter: str
    origin: str
    size: int
    rows: int
    ticks: int
    late: int
    rejects: dict[str, int]
    segments: list[tuple[str, int]]
    first: str
    last: str
    cached: bool = False
    parameters: dict[str, Any] = {}
    mtime_ns: int = 0
    skipped: dict[str, int] = {}
    adapter_digest: str = ""

    @property
    def current(self) -> bool:
        """Whether the file is as it was when it was sent."""
        try:
            state = Path(self.path).stat()
        except OSError:
            return False
        return state.st_size == self.size and self.mtime_ns in (0, state.st_mtime_ns)


def settle(workspace: Workspace, entry: CachedFile, store: TickStore) -> bool:
    """Note a file that was sent as cached if the store holds all of its ticks by now; return whether it does."""
    if not entry.cached and store.count(entry.adapter, entry.origin) == entry.ticks:
        note(workspace, msgspec.structs.replace(entry, cached=True))
        return True
    return entry.cached


def cached_files(workspace: Workspace) -> dict[str, CachedFile]:
    """Return what is known of files that were sent, by path."""
    path = _registry(workspace)
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, CachedFile])


def forget_file(workspace: Workspace, path: Path) -> CachedFile | None:
    """Forget that a file was sent; return what was known of it if no other file has the same ticks.

    Whoever is told so may drop the ticks: another caching of the file sends them anew.
    """
    with _locked(workspace):
        entries = cached_files(workspace)
        entry = entries.pop(str(path), None)
        if entry is None:
            return None
        _write(workspace, entries)
    if any(other.origin == entry.origin for other in entries.values()):
        return None
    begin_path(workspace, entry.origin).unlink(missing_ok=True)
    return entry


def begin_path(workspace: Workspace, origin: str) -> Path:
    """Return the file that says where in its topic an origin's first tick can be."""
    return caching_folder(workspace) / f"{origin.removeprefix('sha256:')}.begin.json"


def caching_folder(workspace: Workspace) -> Path:
    """Return the folder that says what is to be cached and how far it is."""
    folder = workspace.folder("raw") / ".caching"
    folder.mkdir(exist_ok=True)
    return folder


def note(workspace: Workspace, entry: CachedFile) -> None:
    """Note what is known of a file."""
    with _locked(workspace):
        _write(workspace, {**cached_files(workspace), entry.path: entry})


def _write(workspace: Workspace, entries: dict[str, CachedFile]) -> None:
    write_file(_registry(workspace), msgspec.json.format(msgspec.json.encode(entries), indent=1), durable=True)


def _registry(workspace: Workspace) -> Path:
    return workspace.folder("raw") / ".cached.json"


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    with (workspace.folder("raw") / ".cached.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
