"""Datasets for notebooks and scripts: ticks and bars of source files by index.

`load_adapter(team, "refinitiv", {"paths": […]})` names the files, `load_adapter_by_project(team, project)` takes them
from a project.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit.features.dataset import DatasetAdapter, Layout, Segment
from lit.features.window import SymbolWindow
from lit.settings import Settings
from lit.streams.errors import UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.projects import load_project
from lit.streams.quarantine import quarantine_path
from lit.streams.replay import ReplayPlan, ReplayProgress, blocks, plan_files
from lit.streams.sources import load_adapter as load_source
from lit.streams.tick import END_OF_TIME, Watermark
from lit.streams.workspace import Workspace


class SdkAdapter(DatasetAdapter):
    """Files as one dataset, with all that features may ask for (`TradersBaseAdapter`).

    The ticks are read into the memory of this process, some 40 bytes each, in the files' order; nothing is asked of a
    running server.

    Attributes
    ----------
    paths : tuple of Path
        The files, in the dataset's order.
    rejects : dict of str to int
        Rows that were refused, by reason; they are kept in the team's `logs/quarantine`.
    """

    def __init__(self, plan: ReplayPlan) -> None:
        progress = ReplayProgress(plan.raw_bytes)
        windows: dict[str, SymbolWindow] = {}
        counts: dict[tuple[str, str], int] = {}  # a segment is a file's ticks of one symbol, however they are cut
        for mark, block in blocks(plan, progress):
            windows.setdefault(block.symbol, SymbolWindow(block.symbol)).feed(block)
            counts[mark, block.symbol] = counts.get((mark, block.symbol), 0) + len(block)
        for symbol, window in windows.items():
            window.feed(Watermark(symbol, END_OF_TIME, window.next_index))
        super().__init__(windows, Layout(Segment(symbol, count) for (_, symbol), count in counts.items()))
        self._plan = plan
        self.paths = tuple(file.path for file in plan.files)
        self.rejects = dict(progress.rejects)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The instruments, in the order of their first appearance."""
        return tuple(self.layout.counts)

    def create_cache_file(self, path: Path | str) -> dict[str, Any]:
        """Read a file to its end by this adapter and say what is in it, so that nothing of it surprises later.

        No copy is written: an adapter reads its source files when it is made, and they are fast to read.

        Returns
        -------
        dict
            `path`, `digest` of the content, `rows`, `ticks`, `late`, `symbols` (ticks of each), `skipped` and `rejects`
            (rows by reason).

        Raises
        ------
        UserError
            If the file is missing, broken, or not what the adapter reads.
        """
        workspace, source = self._plan.workspace, self._plan.adapter
        file = verified(_found(workspace, path), source)
        report = FileReport(file.path)
        for _ in read_ticks(file, source, quarantine_path(workspace, file.path), report):
            pass
        return {
            "path": str(file.path),
            "digest": file.digest,
            "rows": report.rows,
            "ticks": report.ticks,
            "late": report.late,
            "symbols": {symbol: segment.count for symbol, segment in report.segments.items()},
            "skipped": _plain(report.skipped),
            "rejects": _plain(report.rejects),
        }


def load_adapter(team: str, adapter: str, parameters: Mapping[str, Any]) -> SdkAdapter:
    """Read files as one dataset.

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
        If there is no such adapter, or a file is missing, broken, or not what the adapter reads.
    """
    workspace = Workspace(Settings().data, team)
    own = {name: value for name, value in parameters.items() if name != "paths"}
    load_source(workspace, adapter, own)
    return _read(workspace, adapter, parameters.get("paths"), own)


def load_adapter_by_project(team: str, project: str) -> SdkAdapter:
    """Read the files that a project has chosen, `{team}/projects/{project}.json`, as one dataset.

    Raises
    ------
    UserError
        If the project does not exist or is damaged, or a file is not usable.
    """
    workspace = Workspace(Settings().data, team)
    chosen = load_project(workspace, project)
    return _read(workspace, chosen.adapter, chosen.paths, chosen.parameters)


def _read(workspace: Workspace, adapter: str, paths: Any, parameters: Mapping[str, Any]) -> SdkAdapter:
    if not isinstance(paths, Sequence) or isinstance(paths, str) or not paths:
        raise UserError(f"paths is {paths!r}: name one file or more, as a list")
    return SdkAdapter(plan_files(workspace, adapter, [_found(workspace, path) for path in paths], parameters))


def _found(workspace: Workspace, path: Path | str) -> Path:
    """Return the file itself, or the one of this name below the team's `raw` folder."""
    below = workspace.root / "raw" / path
    return below if below.is_file() and not Path(path).is_file() else Path(path)


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
