"""Source files read whole into memory, as one dataset: what is left to do for files that are not cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lit.features.dataset import DatasetAdapter, Layout, Segment
from lit.features.window import SymbolWindow
from lit.streams.replay import ReplayPlan, ReplayProgress, blocks, plan_files
from lit.streams.tick import END_OF_TIME, Watermark
from lit.streams.workspace import Workspace


class FileDataset(DatasetAdapter):
    """Files as one dataset in memory, some 40 bytes a tick.

    Attributes
    ----------
    rejects : dict of str to int
        Rows that were refused, by reason; they are kept in the team's `logs/quarantine`.
    """

    def __init__(self, plan: ReplayPlan) -> None:
        progress = ReplayProgress(plan.raw_bytes)
        self.windows: dict[str, SymbolWindow] = {}
        counts: dict[tuple[str, str], int] = {}  # a segment is a file's ticks of one symbol, however they are cut
        for mark, block in blocks(plan, progress):
            self.windows.setdefault(block.symbol, SymbolWindow(block.symbol)).feed(block)
            counts[mark, block.symbol] = counts.get((mark, block.symbol), 0) + len(block)
        for symbol, window in self.windows.items():
            window.feed(Watermark(symbol, END_OF_TIME, window.next_index))
        super().__init__(self.windows, Layout(Segment(symbol, count) for (_, symbol), count in counts.items()))
        self.rejects = dict(progress.rejects)

    def table(self, first: int, last: int) -> pa.Table:
        """Return ticks first…last−1 with all fields, and their `index`."""
        parts, index = [], first
        for symbol, position, count in self.layout.pieces(first, last):
            for block in self.windows[symbol].blocks(position, position + count):
                own = pa.array(np.arange(index, index + len(block)))
                columns = [own, *block.batch.columns, pa.array([symbol] * len(block)).dictionary_encode()]
                parts.append(pa.table(columns, names=["index", *block.batch.schema.names, "symbol"]))
                index += len(block)
        if not parts:
            return self.table(0, 1).slice(0, 0) if len(self) else pa.table({"index": pa.array([], pa.int64())})
        return pa.concat_tables(parts, promote_options="default").unify_dictionaries()


def read_files(
    workspace: Workspace, adapter: str, paths: Sequence[Path], parameters: Mapping[str, Any] | None = None
) -> FileDataset:
    """Read files as one dataset.

    Raises
    ------
    UserError
        If a file is missing, broken, or not what the adapter reads.
    """
    return FileDataset(plan_files(workspace, adapter, list(paths), parameters or {}))
