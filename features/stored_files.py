"""Which cached files make a dataset in the tick store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit.features.stored import StoredDataset
from lit.features.stored_ticks import KEPT_BYTES, Part
from lit.streams.cache import CachedFile, cached_files
from lit.streams.errors import UserError
from lit.streams.sources import adapter_digest
from lit.streams.store import TickStore
from lit.streams.workspace import Workspace


def raw_file_path(workspace: Workspace, path: Path | str) -> Path:
    """Return the file itself, or the one of this name below the team's `raw` folder, as an absolute path."""
    below = workspace.root / "raw" / path
    named = below if not Path(path).is_absolute() and (below.is_file() or not Path(path).is_file()) else Path(path)
    return named.absolute()


def cached_entries(
    workspace: Workspace, adapter: str, paths: Sequence[Path], parameters: Mapping[str, Any] | None = None
) -> tuple[list[CachedFile], list[tuple[Path, str]]]:
    """Return what is known of the files whose ticks the store has, and the others, each with why it has not.

    A file that was deleted since it was cached is still a part of datasets.

    Parameters
    ----------
    adapter, parameters
        What reads the files; of its source only the digest counts, nothing of it is run.
    paths
        Absolute.

    Raises
    ------
    UserError
        If there is no such adapter, or a parameter does not fit.
    """
    digest, known = adapter_digest(workspace, adapter, parameters), cached_files(workspace)
    found, lacking = [], []
    for path in paths:
        entry = known.get(str(path))
        if entry is None or not entry.cached or entry.adapter != adapter:
            lacking.append((path, "is not cached"))
        elif path.exists() and not entry.current:
            lacking.append((path, "has changed since it was cached"))
        elif entry.adapter_digest not in ("", digest):
            lacking.append((path, f"was cached with another state of adapter {adapter!r}"))
        else:
            found.append(entry)
    return found, lacking


def open_dataset(
    workspace: Workspace,
    store: TickStore,
    adapter: str,
    entries: Sequence[CachedFile],
    kept_bytes: int = KEPT_BYTES,
) -> StoredDataset:
    """Return the dataset of cached files, in their order; bars that took a pass are kept below `raw/.bars`."""
    parts = [Part(entry.origin, symbol, count) for entry in entries for symbol, count in entry.segments]
    return StoredDataset(store, adapter, parts, workspace.folder("raw") / ".bars", kept_bytes)


def stored_entries(
    workspace: Workspace, adapter: str, paths: Sequence[str], parameters: Mapping[str, Any] | None = None
) -> list[CachedFile]:
    """Return what is known of files, all of which the store must have.

    Raises
    ------
    UserError
        If there is no such adapter or no file is named, or one is not cached.
    """
    if not paths:
        raise UserError("the dataset names no file: name one path or more, or a project that has some")
    found, lacking = cached_entries(workspace, adapter, [raw_file_path(workspace, path) for path in paths], parameters)
    if lacking:
        path, why = lacking[0]
        shown = os.path.relpath(path, workspace.root.absolute() / "raw")
        shown = str(path) if shown.startswith("..") else shown
        raise UserError(f"file {shown!r} {why}: cache it first (`lit cache FILE`)")
    return found
