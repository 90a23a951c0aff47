"""The folder of an asset, `{team}/assets/{schema}/`: both parts are moved together or not at all, also through a crash.

A move first gives the files a second name below `.moving`, where no build replaces them, then writes down what goes
where, `.moving.json`, then renames, then forgets it. Whoever looks at the folder while nobody moves and finds the paper
finishes what it says. Readers see a file whole, always: renames are atomic, and an open file stays the one that was
opened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import msgspec

from lit.streams.atomic import write_file
from lit.streams.errors import FaultError, UserError
from lit.streams.filelock import LOCK, locked
from lit.streams.workspace import Workspace, is_name

PARTS = ("train", "test")
#: What belongs to a version of an asset, and moves with it.
FILES = ("train.h5", "test.h5", "audit.json")
QUEUE = "queue"
Where = Literal["promoted", "queue"]
_PAPER, _STAGE = ".moving.json", ".moving"


class _Paper(msgspec.Struct, frozen=True):
    """A move that was begun. `inodes` tell whether a file at its old place is still the one that was meant."""

    source: str
    target: str
    inodes: dict[str, int]
    log: str
    line: str


def asset_names(workspace: Workspace) -> list[str]:
    """Return the names of a team's assets; folders that no asset can be named as are none."""
    root = workspace.path("assets")
    return sorted(path.name for path in root.glob("*") if path.is_dir() and is_name(path.name))


def asset_folder(workspace: Workspace, schema: str) -> Path:
    """Return an asset's folder, an unfinished move in it finished first.

    Raises
    ------
    UserError
        If there is none.
    """
    folder = workspace.path("assets", schema)
    if not folder.is_dir():
        built = ", ".join(asset_names(workspace)) or "none"
        raise UserError(f"there is no asset {schema!r}: build it first (`lit build`). Built so far: {built}.")
    if (folder / _PAPER).exists() and os.access(folder, os.W_OK):
        with locked(folder / LOCK):
            finish(folder)
    return folder


def part_folder(folder: Path, where: Where) -> Path:
    """Return where an asset's promoted or queued parts are."""
    return folder / QUEUE if where == "queue" else folder


def present(folder: Path) -> Where | None:
    """Return which version of an asset is read: the promoted one if it is there; None if there is none at all."""
    for where in ("promoted", "queue"):
        if all((part_folder(folder, where) / f"{part}.h5").is_file() for part in PARTS):
            return where
    return None


@contextmanager
def steady(folder: Path) -> Iterator[None]:
    """Keep others from moving the asset's parts within a block, so that both are of one version."""
    writable = os.access(folder, os.W_OK)  # else nobody moves anything, and there is no place for a lock
    with locked(folder / LOCK, shared=True) if writable else nullcontext():
        yield


def move(folder: Path, source: Path, target: Path, check: Callable[[], None], log: Path, line: str) -> None:
    """Move an asset's files from one of its folders to another, and append a line to a log of it.

    Parameters
    ----------
    folder
        The asset's folder, in which the others are.
    check
        Called when nobody else can move them: raises what speaks against it.
    log, line
        Where it is recorded; the line is there if and only if the files were moved.

    Raises
    ------
    FaultError
        If a folder cannot be written to; what was begun is finished by whoever looks next.
    """
    try:
        _move(folder, source, target, check, log, line)
    except OSError as error:
        raise FaultError(f"the files of {folder} could not be moved ({error}): mend that and look again") from error


def _move(folder: Path, source: Path, target: Path, check: Callable[[], None], log: Path, line: str) -> None:
    with locked(folder / LOCK):
        finish(folder)
        check()
        stage = folder / _STAGE
        shutil.rmtree(stage, ignore_errors=True)  # of a move that did not come to its paper
        stage.mkdir()
        inodes = {}
        for name in FILES:
            if (inode := _inode(source / name)) is not None:
                (stage / name).hardlink_to(source / name)
                inodes[name] = inode
        _sync(stage)
        before, after = (str(place.relative_to(folder)) for place in (source, target))
        _write(folder / _PAPER, msgspec.json.encode(_Paper(before, after, inodes, log.name, line)))
        finish(folder)


def finish(folder: Path) -> None:
    """Finish a move that was begun; the caller has the lock."""
    paper = folder / _PAPER
    if not paper.exists():
        return
    found = msgspec.json.decode(paper.read_bytes(), type=_Paper)
    source, target, stage = folder / found.source, folder / found.target, folder / _STAGE
    target.mkdir(exist_ok=True)
    for name, inode in found.inodes.items():
        if (stage / name).exists():
            (stage / name).replace(target / name)
        if _inode(source / name) == inode:  # else a build has put another one there
            (source / name).unlink()
    _sync(target)
    _append(folder / found.log, found.line)
    paper.unlink()
    _sync(folder)
    shutil.rmtree(stage, ignore_errors=True)


def _append(log: Path, line: str) -> None:
    """Append a line unless it is the last one already, also behind a line that a crash cut off."""
    before = log.read_bytes() if log.exists() else b""
    lines = before.split(b"\n")
    if line.encode() in lines[-2:]:
        return
    with log.open("ab") as stream:
        stream.write((b"\n" if before and not before.endswith(b"\n") else b"") + line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def _write(path: Path, content: bytes) -> None:
    write_file(path, content, durable=True)
    _sync(path.parent)


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.is_file() else None


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
