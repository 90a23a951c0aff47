"""The ticks that features are tried and judged on: cached files by random access through the store, others as tapes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lit.api.errors import NotFoundError
from lit.api.feature_schemas import Dataset
from lit.api.services import Services
from lit.features.kept_tapes import count_ticks, excerpts, kept_tapes, write_excerpts
from lit.features.schema import load_schema
from lit.features.stored import StoredDataset
from lit.features.stored_files import cached_entries, open_dataset
from lit.streams.errors import UserError
from lit.streams.projects import load_project, project_names
from lit.streams.workspace import Workspace, checked_name

#: Datasets that stay open.
KEPT = 4
_EXCERPTS = 2


@dataclass(frozen=True, slots=True)
class Files:
    """Which files a dataset is, and how they are read."""

    adapter: str
    parameters: dict[str, Any]
    paths: list[Path]


@dataclass(frozen=True, slots=True)
class TrialData:
    """A dataset to try features on: `data` as `lit.features.saving.tried` takes it."""

    data: StoredDataset | list[Path]
    length: int

    def excerpts(self, folder: Path) -> list[Path]:
        """Write stretches of it as tapes, to judge features on."""
        if not isinstance(self.data, StoredDataset):
            return excerpts(self.data, folder, _EXCERPTS)
        rng = np.random.default_rng(0)
        symbols = [symbol for symbol in self.data.symbols.values() if len(symbol)]
        chosen = [symbols[number] for number in rng.permutation(len(symbols))[:_EXCERPTS].tolist()]
        blocks = (symbol.ticks.block(int(rng.integers(symbol.ticks.chunks))) for symbol in chosen)
        return write_excerpts(blocks, folder)


class TrialDatasets:
    """Opens datasets, and keeps the last few."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._open: OrderedDict[Any, StoredDataset] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, workspace: Workspace, dataset: Dataset) -> TrialData:
        """Return a dataset; files that are not cached are read now, and kept as tapes.

        Raises
        ------
        UserError
            If the dataset is not named by one way, or a file is missing or not what its adapter reads.
        """
        files = files_of(workspace, dataset)
        paths = [path.absolute() for path in files.paths]
        entries, lacking = cached_entries(workspace, files.adapter, paths, files.parameters)
        if lacking or not entries:
            tapes = kept_tapes(workspace, files.adapter, files.paths, files.parameters)
            return TrialData(tapes, count_ticks(tapes))
        key = (workspace.team, files.adapter, *(entry.origin for entry in entries))
        with self._lock:
            found = self._open.pop(key, None)
            if found is None:
                found = open_dataset(workspace, self._services.stores.team(workspace.team), files.adapter, entries)
            self._open[key] = found
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return TrialData(found, len(found))


def files_of(workspace: Workspace, dataset: Dataset) -> Files:
    """Return source adapter and files of a dataset.

    Raises
    ------
    UserError
        If it names none or several, or a path leaves the team's `raw` folder.
    """
    chosen = [dataset.schema_name, dataset.project, dataset.paths]
    if sum(choice is not None for choice in chosen) != 1:
        raise UserError("the dataset is not one: name either a schema, a project or paths")
    raw = workspace.root / "raw"
    if dataset.schema_name is not None:
        schema = load_schema(workspace, dataset.schema_name)
        return Files(schema.adapter, schema.parameters, [raw / path for path in schema.paths])
    if dataset.project is not None:
        if checked_name(dataset.project, "project") not in project_names(workspace):
            raise NotFoundError(f"team {workspace.team!r} has no project {dataset.project!r}")
        project = load_project(workspace, dataset.project)
        return Files(project.adapter, project.parameters, [raw / path for path in project.paths])
    return Files(dataset.adapter, dataset.parameters, [_inside(raw, path) for path in dataset.paths or ()])


def _inside(raw: Path, path: str) -> Path:
    found = (raw / path).resolve()
    if not found.is_relative_to(raw.resolve()):
        raise UserError(f"path {path!r} is not below the team's raw folder: name an uploaded file")
    return raw / path
