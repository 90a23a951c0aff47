"""What builds keep for the next build of their schema: how much it is, and how it is let go."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from lit.processors.progress import driving
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


class Kept(msgspec.Struct, frozen=True):
    """What is kept of a schema's builds: chunks, and where symbols go on."""

    schema: str
    files: int
    bytes: int


def kept_chunks(workspace: Workspace) -> list[Kept]:
    """Return what each schema's builds keep; schemas without anything are left out."""
    root = workspace.path("build")
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [found for folder in folders if (found := _measured(folder)).files]


def clean(workspace: Workspace, schema: str) -> Kept:
    """Delete what a schema's builds keep and return how much it was; assets stay, and the next build makes all anew.

    Raises
    ------
    UserError
        If nothing is kept of it, or a build of it is running.
    """
    folder = workspace.path("build", checked_name(schema, "schema"))
    if not _measured(folder).files:
        known = ", ".join(repr(one.schema) for one in kept_chunks(workspace)) or "none"
        raise UserError(f"nothing is kept of builds of {schema!r} (something is kept of: {known})")
    with driving(folder, f"a build of {schema!r}"):
        found = _measured(folder)
        shutil.rmtree(folder / "tmp")
    return found


def _measured(folder: Path) -> Kept:
    sizes = []
    for path in (folder / "tmp").rglob("*"):
        try:
            sizes += [path.stat().st_size] if path.is_file() else []
        except FileNotFoundError:
            continue  # a build is just done with it
    return Kept(folder.name, len(sizes), sum(sizes))
