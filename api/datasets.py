"""Datasets that requests name, kept open between them: a project's, or those of an adapter and some files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lit.api.services import Services
from lit.features.discovery import Discovery
from lit.features.stored_files import open_dataset, stored_entries
from lit.streams.cache import CachedFile
from lit.streams.errors import UserError
from lit.streams.projects import load_project

#: Open at a time, and what each keeps of what it has read lately (besides some megabytes of a large one's summary).
KEPT = 8
KEPT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class OpenDataset:
    """A dataset and the files that it is made of."""

    adapter: str
    entries: tuple[CachedFile, ...]
    discovery: Discovery


class Datasets:
    """The open datasets of all teams."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: OrderedDict[Any, OpenDataset] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, team: str, project: str | None, adapter: str, paths: Sequence[str]) -> OpenDataset:
        """Return the dataset that is meant, as its files are now.

        Raises
        ------
        UserError
            If it is not named by one way, a file is not cached, or the team or project does not exist.
        """
        workspace = self._services.workspace(team)
        if (project is None) == (not paths):
            raise UserError("name the dataset either by `project`, or by `adapter` and `path` (once for each file)")
        parameters = None
        if project is not None:
            chosen = load_project(workspace, project)
            adapter, paths, parameters = chosen.adapter, chosen.paths, chosen.parameters
        entries = stored_entries(workspace, adapter, paths, parameters)
        key = (team, adapter, *(entry.origin for entry in entries))
        with self._lock:
            found = self._open.get(key)
            if found is None:
                dataset = open_dataset(workspace, self._services.stores.team(team), adapter, entries, KEPT_BYTES)
                found = self._open[key] = OpenDataset(adapter, tuple(entries), Discovery(dataset))
            self._open.move_to_end(key)
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return found
