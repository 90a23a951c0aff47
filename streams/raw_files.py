"""The files of a team's `raw` folder: what is in them, whether they are cached, and who uses them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit.streams import caching
from lit.streams.cached import CachedFile, cached_files, forget_file
from lit.streams.caching import Status, Wish
from lit.streams.errors import UserError
from lit.streams.sources import adapter_digest, adapter_for
from lit.streams.tick import iso
from lit.streams.workspace import Workspace, checked_name


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file as the list shows it.

    Parameters
    ----------
    path
        Within `raw`, or absolute for a file elsewhere that was cached from there.
    modified
        ISO 8601 UTC.
    adapter, parameters
        What reads it: as it was cached or wished for, else what its name speaks for.
    state
        `new` (never cached), `sent` (to Kafka; the store was not asked yet), `changed` (it or its adapter), `missing`
        (cached, but no longer there), `stopped`, `failed`, `waiting`, `checking`, `sending`, `storing` or `cached`
        (the store holds every tick of it).
    rows, ticks, late, skipped, rejects, first, last, symbols
        What caching found; null or empty before. `first` and `last` are ISO 8601 UTC, `symbols` are ticks of each.
    bytes, total, rate, eta
        Progress of a caching: decompressed bytes, ticks a second, seconds to go.
    used_by
        Schemas, projects and streams that name it, as `schema NAME`.
    """

    path: str
    size: int
    modified: str
    adapter: str
    parameters: dict[str, Any]
    state: str
    cached: bool
    rows: int | None = None
    ticks: int | None = None
    late: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    rejects: dict[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None
    symbols: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    total: int = 0
    rate: float = 0.0
    eta: float | None = None
    error: str | None = None
    used_by: list[str] = field(default_factory=list)


def raw_root(workspace: Workspace) -> Path:
    """Return the absolute path of the `raw` folder."""
    return workspace.root.absolute() / "raw"


def raw_path(workspace: Workspace, name: str) -> Path:
    """Return the file meant by a path within `raw`; no link leads out of it.

    Raises
    ------
    UserError
        If a part of it is no usable name, or it leaves the folder.
    """
    root = raw_root(workspace)
    path = root.joinpath(*(checked_name(part, "file") for part in name.split("/")))
    if not Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)):
        raise UserError(f"file {name!r} is behind a link that leads out of raw; name it by its own path")
    return path


def raw_files(workspace: Workspace) -> list[RawFile]:
    """Return the files in `raw` and those cached from elsewhere, by path; hidden ones are none."""
    root, entries = raw_root(workspace), cached_files(workspace)
    wanted = {wish.path: wish for wish in caching.wishes(workspace)}
    users = _users(workspace)
    paths = {str(path) for path in _walk(root)} | set(entries) | {path for path in wanted if Path(path).exists()}
    return [_describe(workspace, path, entries.get(path), wanted.get(path), users) for path in sorted(paths)]


def raw_file(workspace: Workspace, path: Path) -> RawFile:
    """Return one file of the list.

    Raises
    ------
    UserError
        If it is neither there nor known.
    """
    entry = cached_files(workspace).get(str(path))
    wish = caching.wish_of(workspace, caching.job_key(str(path)))
    if entry is None and not path.is_file():
        raise UserError(f"there is no file {_shown(workspace, str(path))!r} in raw of team {workspace.team!r}")
    return _describe(workspace, str(path), entry, wish, _users(workspace))


def delete_raw_file(workspace: Workspace, path: Path) -> CachedFile | None:
    """Delete a file that nothing uses; return what was known of it if its ticks are to be dropped, being no other's.

    Raises
    ------
    UserError
        If a schema, project or stream names it, or it is being cached.
    """
    found = raw_file(workspace, path)
    if found.used_by:
        raise UserError(f"file {found.path!r} is used by {', '.join(found.used_by)}: take it out there first")
    if caching.status_of(workspace, caching.job_key(str(path))).alive:
        raise UserError(f"file {found.path!r} is being cached: stop that first")
    caching.forget(workspace, str(path))
    path.unlink(missing_ok=True)
    return forget_file(workspace, path)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith(".") and (path := Path(folder) / name).is_file():
                yield path


def _describe(
    workspace: Workspace, path: str, entry: CachedFile | None, wish: Wish | None, users: Mapping[str, list[str]]
) -> RawFile:
    status = caching.status_of(workspace, caching.job_key(path)) if wish else Status()
    there = Path(path).is_file()
    state, error = _state(entry, wish, status, there), status.error
    if state == "cached" and entry is not None and entry.adapter_digest not in ("", _digest(workspace, entry)):
        state, error = "changed", f"adapter {entry.adapter!r} was edited since"
    known = entry if entry is not None and state not in ("changed", "checking", "sending") else None
    if there:
        size, modified = Path(path).stat().st_size, iso(Path(path).stat().st_mtime_ns // 10**9 * 10**9)
    else:
        size, modified = (entry.size, iso(entry.mtime_ns // 10**9 * 10**9)) if entry else (0, "")
    by = wish or entry
    running = state in (*caching.ACTIVE, "stopped", "waiting")
    return RawFile(
        path=_shown(workspace, path),
        size=size,
        modified=modified,
        adapter=by.adapter if by else adapter_for(Path(path)),
        parameters=dict(by.parameters) if by else {},
        state=state,
        cached=state == "cached",
        rows=known.rows if known else None,
        ticks=known.ticks if known else None,
        late=known.late if known else 0,
        skipped=known.skipped if known else {},
        rejects=known.rejects if known else {},
        first=iso(int(known.first)) if known and known.ticks else None,
        last=iso(int(known.last)) if known and known.ticks else None,
        symbols=dict(known.segments) if known else {},
        bytes=status.bytes if running else 0,
        total=status.total if running else 0,
        rate=round(status.rate, 1) if state in caching.ACTIVE else 0.0,
        eta=round(status.eta, 1) if status.eta is not None and state == "sending" else None,
        error=error if state in ("failed", "waiting", "changed") else None,
        used_by=users.get(path, []),
    )


def _digest(workspace: Workspace, entry: CachedFile) -> str:
    """Return the digest that an entry's adapter has now, with the entry's parameters."""
    try:
        return adapter_digest(workspace, entry.adapter, entry.parameters)
    except UserError:  # it was deleted: what it made is as good as it was
        return entry.adapter_digest


def _state(entry: CachedFile | None, wish: Wish | None, status: Status, there: bool) -> str:
    if wish is not None and status.alive:
        return status.state
    if wish is not None and wish.run and status.state in ("failed", "stopped"):
        return status.state
    if wish is not None and wish.run and status.state != "cached":
        return "waiting"  # also if the process that worked on it died
    if entry is not None and not there:
        return "missing"
    if entry is not None and not entry.current:
        return "changed"
    if entry is not None and entry.cached:
        return "cached"
    if wish is not None:
        return "stopped"
    return "new" if entry is None else "sent"


def _shown(workspace: Workspace, path: str) -> str:
    return path.removeprefix(f"{raw_root(workspace)}/")


def _users(workspace: Workspace) -> dict[str, list[str]]:
    """Return absolute path → what names it."""
    found: dict[str, list[str]] = {}
    for folder, what in (("schemas", "schema"), ("projects", "project"), ("streams", "stream")):
        for file in sorted(workspace.path(folder).glob("*.json")):
            for name in _paths_in(file):
                path = name if name.startswith("/") else str(raw_root(workspace) / name)
                found.setdefault(path, []).append(f"{what} {file.stem}")
    return found


def _paths_in(file: Path) -> list[str]:
    try:
        content = json.loads(file.read_bytes())
        paths = content.get("paths") or content.get("parameters", {}).get("paths") or []
        return [path for path in paths if isinstance(path, str)]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def free_bytes(folder: Path) -> int:
    """Return the space that is left where a folder is (or would be)."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
