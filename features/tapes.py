"""Ticks in files that another process can read: tapes, one symbol each; made of a block or of source files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lit.streams.errors import UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.quarantine import quarantine_path
from lit.streams.sources import load_adapter
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace


def write_tape(path: Path, block: TickBlock) -> None:
    """Write ticks of one symbol to a file that another process can read."""
    batch = block.batch.replace_schema_metadata({"symbol": block.symbol})
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)


def read_tape(path: Path) -> TickBlock:
    """Read what `write_tape` wrote; indices begin at 0."""
    batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    return TickBlock(batch.schema.metadata[b"symbol"].decode(), 0, batch.replace_schema_metadata(None))


def tapes_of_files(
    workspace: Workspace,
    adapter: str,
    paths: Sequence[Path],
    folder: Path,
    parameters: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the segments of a dataset, one tape for each file and symbol, and return the tapes in dataset order.

    Parameters
    ----------
    workspace
        Whose source adapters.
    adapter
        Name of the source adapter.
    paths
        The source files, in path order.
    folder
        Where tapes go.
    parameters
        The source adapter's own.

    Raises
    ------
    UserError
        If a file can't be read, or there is no tick in any.
    """
    source = load_adapter(workspace, adapter, parameters)
    tapes: list[Path] = []
    for path in paths:
        segments: dict[str, list[pa.RecordBatch]] = {}
        for piece in read_ticks(verified(path, source), source, quarantine_path(workspace, path), FileReport(path)):
            segments.setdefault(piece.symbol, []).append(piece.batch)
        for symbol, batches in segments.items():
            table = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
            tapes.append(folder / f"{len(tapes)}.arrow")
            write_tape(tapes[-1], TickBlock(symbol, 0, table.to_batches()[0]))
    if not tapes:
        raise UserError(f"there is no tick in {', '.join(map(str, paths)) or 'no file'}: name files that hold some")
    return tapes
