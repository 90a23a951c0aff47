"""Datasets for notebooks and scripts: ticks and bars of cached files by index.

`load_adapter(team, "refinitiv", {"paths": […]})` names the files, `load_adapter_by_project(team, project)` takes them
from a project.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lit.features.discovery import Discovery, Found, Overview
from lit.features.layout import Layout
from lit.features.stored import StoredDataset
from lit.features.stored_files import cached_entries, open_dataset, raw_file_path
from lit.sdk.data.columns import Columns
from lit.sdk.data.files import FileDataset, read_files
from lit.sdk.data.opened import current_store, opened_broker
from lit.settings import Settings
from lit.streams.errors import UserError
from lit.streams.projects import load_project
from lit.streams.sources import load_adapter as load_source
from lit.streams.tick import Float64Array, Int64Array, from_iso
from lit.streams.workspace import Workspace


class SdkAdapter:
    """Files as one dataset, with all that features may ask for (`TradersBaseAdapter`).

    Of cached files, ticks are read from the tick store as they are asked for, and the latest stay in memory (256 MB);
    the store is a running `lit up`'s, or is opened in this process for its life. If a file is not cached, all of them
    are read whole into memory at the first use, which is said once.

    Attributes
    ----------
    paths : tuple of Path
        The files, in the dataset's order.
    """

    def __init__(
        self, settings: Settings, team: str, source: str, paths: Sequence[Path], parameters: Mapping[str, Any]
    ) -> None:
        self._settings, self._workspace = settings, Workspace(settings.data, team)
        self._source, self._parameters = source, dict(parameters)
        self.paths = tuple(paths)
        self._opened: StoredDataset | FileDataset | None = None
        self._rejects: dict[str, int] = {}
        self._discovery: Discovery | None = None
        self._lock = threading.Lock()

    @property
    def _dataset(self) -> StoredDataset | FileDataset:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> StoredDataset | FileDataset:
        entries, lacking = cached_entries(self._workspace, self._source, self.paths, self._parameters)
        if not lacking:
            self._rejects = dict(sum((Counter(entry.rejects) for entry in entries), Counter()))
            store = current_store(self._settings, self._workspace.team)
            return open_dataset(self._workspace, store, self._source, entries)
        path, why = lacking[0]
        warnings.warn(
            f"{path.name} {why}{f' (and {len(lacking) - 1} more files)' if len(lacking) > 1 else ''}: all files are "
            "read into memory; `lit cache` or adapter.create_cache_file(path) gives random access without that",
            stacklevel=4,
        )
        found = read_files(self._workspace, self._source, self.paths, self._parameters)
        self._rejects = found.rejects
        return found

    @property
    def stored(self) -> bool:
        """Whether the ticks come from the tick store (else they are in memory)."""
        return isinstance(self._dataset, StoredDataset)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The instruments, in the order of their first appearance."""
        return tuple(self.layout.counts)

    @property
    def layout(self) -> Layout:
        """Which index is of which symbol."""
        return self._dataset.layout

    @property
    def rejects(self) -> dict[str, int]:
        """Rows that were refused, by reason; they are kept in the team's `logs/quarantine`."""
        return self._rejects if self._dataset is not None else {}

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Columns: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | Columns:
        """Return a tick as a dict, or (of a slice) ticks as `Columns`, ready for NumPy, pandas and Arrow.

        An index counts from 0; a negative one raises `IndexError`. In slices it counts from the end, as usual.
        """
        if not isinstance(index, slice):
            return self._dataset[int(index)]
        first, stop, step = index.indices(len(self))
        if step < 0:
            raise UserError(f"a slice goes forward: step {step} is not positive")
        table = self._table(first, max(stop, first))
        return Columns(table if step == 1 else table.take(pa.array(np.arange(0, table.num_rows, step))))

    def _table(self, first: int, last: int) -> pa.Table:
        if isinstance(dataset := self._dataset, FileDataset):
            return dataset.table(first, last)
        found = self.discovery
        names = ["timestamp", "Price", "Volume", "Seq. No.", "session", "Qualifiers", *found.extras, "symbol"]
        return found.window(found.covered(first, last), names, limit=None)

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Return up to `count` bars of the symbol of tick `index`, around the bar B that holds it, oldest first.

        Those that end before B, or (`future`) that begin after it; with `prevent_lookahead_bias=False` B itself too.
        Columns: open, high, low, close, trades, volume, mean and max trade size. Bars of an hour and more, and those of
        ticks, volume or dollars, take one pass over the symbol's ticks, once a dataset; others read what they need.
        """
        return self._dataset.get_bars(index, count, unit, size, future, prevent_lookahead_bias)

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Return one field of many ticks (see `TradersBaseAdapter`)."""
        return self._dataset.column(name, indices)

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[Float64Array, Int64Array]:
        """Return `get_bars` of many indices: float64 (m, count, 8), NaN behind the valid rows; and their number."""
        return self._dataset.get_bars_batch(indices, count, unit, size, future, prevent_lookahead_bias)

    def require_cached(self) -> None:
        """Raise `UserError` if a file is not cached, before any is read."""
        if self._opened is None:
            _, lacking = cached_entries(self._workspace, self._source, self.paths, self._parameters)
        else:
            lacking = [] if self.stored else [(self.paths[0], "was not cached when the dataset was opened")]
        if lacking:
            path, why = lacking[0]
            raise UserError(f"{path} {why}: `lit cache` or adapter.create_cache_file(path) does it")

    @property
    def discovery(self) -> Discovery:
        """Windows by index or time, searches and overviews of the dataset.

        Raises
        ------
        UserError
            If a file is not cached.
        """
        self.require_cached()
        dataset = self._dataset
        assert isinstance(dataset, StoredDataset)
        if self._discovery is None:
            self._discovery = Discovery(dataset)
        return self._discovery

    def search(self, text: str, first: int = 0, count: int | None = None, seconds: float = 5.0) -> Found:
        """Return which of the ticks first…first + count − 1 match, and how many of the whole dataset.

        Parameters
        ----------
        text
            A text that is in any text field, `/a regular expression/`, or a comparison such as `Volume > 10000`; or
            several of these, joined by `and`, `or`, `not` and parentheses.
        seconds
            For counting the whole dataset; `found.searched` tells how far it came, and asking again goes on.
        """
        found = self.discovery
        last = min(len(self), first + (len(self) if count is None else count))
        return found.search(text, found.covered(first, last), seconds)

    def overview(self, points: int = 2000, first: int = 0, count: int | None = None) -> Overview:
        """Return a stretch of the dataset as about so many points that keep the extremes of what they stand for."""
        found = self.discovery
        return found.overview(found.covered(first, len(self) if count is None else first + count), points)

    def index_at(self, time: str | int, symbol: str | None = None) -> int:
        """Return the index of the first tick at or after a time: ISO 8601 with zone, or ns since the epoch."""
        return self.discovery.index_at(from_iso(time) if isinstance(time, str) else int(time), symbol)

    def create_cache_file(self, path: Path | str) -> dict[str, Any]:
        """Cache a file, so that datasets have random access to its ticks; one that is cached already stays as it is.

        The file goes through Kafka into the tick store: a running `lit up`'s, or one opened in this process.

        Returns
        -------
        dict
            `path`, `origin` (digest over content and adapter), `rows`, `ticks`, `late`, `symbols` (ticks of each),
            `skipped` and `rejects` (rows by reason).

        Raises
        ------
        UserError
            If the file is missing, broken, or not what the adapter reads.
        """
        from lit.sdk.data.caching import cache

        file = raw_file_path(self._workspace, path)
        settings = opened_broker(self._settings)
        (entry,) = cache(self._workspace.team, self._source, [file], self._parameters, settings=settings)
        with self._lock:
            if isinstance(self._opened, FileDataset):
                self._opened = None  # its files may all be cached now
        return {
            "path": entry.path,
            "origin": entry.origin,
            "rows": entry.rows,
            "ticks": entry.ticks,
            "late": entry.late,
            "symbols": dict(entry.segments),
            "skipped": entry.skipped,
            "rejects": entry.rejects,
        }


def load_adapter(team: str, adapter: str, parameters: Mapping[str, Any]) -> SdkAdapter:
    """Return files as one dataset; nothing is read before it is asked for.

    Parameters
    ----------
    team
        Whose source adapters and `raw` folder.
    adapter
        Name of the source adapter, such as `refinitiv`.
    parameters
        `{"paths": […]}`: files in the order of their time, each a path, or one below the team's `raw` folder; and the
        source adapter's own parameters (`lit adapter show NAME` lists them).

    Raises
    ------
    UserError
        If there is no such adapter, or a file is missing.
    """
    settings = Settings()
    own = {name: value for name, value in parameters.items() if name != "paths"}
    load_source(Workspace(settings.data, team), adapter, own)
    return _adapter(settings, team, adapter, parameters.get("paths"), own)


def load_adapter_by_project(team: str, project: str) -> SdkAdapter:
    """Return the files that a project has chosen, `{team}/projects/{project}.json`, as one dataset.

    Raises
    ------
    UserError
        If the project does not exist or is damaged, or a file is missing.
    """
    settings = Settings()
    chosen = load_project(Workspace(settings.data, team), project)
    return _adapter(settings, team, chosen.adapter, chosen.paths, chosen.parameters)


def _adapter(settings: Settings, team: str, adapter: str, paths: Any, parameters: Mapping[str, Any]) -> SdkAdapter:
    if not isinstance(paths, Sequence) or isinstance(paths, str) or not paths:
        raise UserError(f"paths is {paths!r}: name one file or more, as a list")
    workspace = Workspace(settings.data, team)
    files = [raw_file_path(workspace, path) for path in paths]
    _, lacking = cached_entries(workspace, adapter, files, parameters)
    for file, _ in lacking:
        if not file.is_file():
            raise UserError(f"{file} does not exist; check the path.")
    return SdkAdapter(settings, team, adapter, files, parameters)
