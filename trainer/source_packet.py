"""The tick that a sample of an asset was made at, `adapter[i]`, out of the tick store or out of its raw file."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from lit.streams.errors import LitError, UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.sources import load_adapter
from lit.streams.store import TickStore
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace


class _Source(msgspec.Struct, frozen=True):
    adapter: str
    parameters: dict[str, Any] = {}


class _Snapshot(msgspec.Struct, frozen=True):
    """What a frozen schema says of its files: (symbol, ticks) of each in the dataset's order, and their origins."""

    schema: _Source
    files: dict[str, str]
    segments: list[tuple[str, int]]
    origins: list[str] = []


def source_packet(
    workspace: Workspace, snapshot: Mapping[str, Any], index: int, timestamp: int, store: TickStore | None = None
) -> dict[str, Any]:
    """Return the packet of a sample, under its index in the dataset.

    Parameters
    ----------
    snapshot
        The asset's frozen schema.
    index, timestamp
        Of the sample; a packet of another time is none.
    store
        Asked first: it has cached files at hand, while a raw file is read up to the tick.

    Raises
    ------
    UserError
        If the asset does not say its files, or they are not what they were.
    """
    try:
        found = msgspec.convert(snapshot, _Snapshot)
    except msgspec.ValidationError as error:
        raise UserError(f"the asset does not say which files it was built from: {error}") from None
    ends = list(accumulate(count for _, count in found.segments))
    if not 0 <= index < (ends[-1] if ends else 0):
        raise UserError(f"tick {index} is not in the files that the asset was built from: they have {ends[-1:]} ticks")
    segment = bisect_right(ends, index)
    position = index - ends[segment] + found.segments[segment][1]
    packet = _stored(store, found, segment, position) or _read(workspace, found, segment, position)
    if packet is None or packet["timestamp"] != timestamp:
        raise UserError(f"the files that the asset was built from have changed: tick {index} is another one")
    return {**packet, "index": index}


def _stored(store: TickStore | None, found: _Snapshot, segment: int, position: int) -> dict[str, Any] | None:
    if store is None or not found.origins:
        return None
    try:
        return store.packet(found.schema.adapter, found.segments[segment][0], position, found.origins[segment])
    except (IndexError, LitError):
        return None  # not cached, or the store is not there: the file has it


def _read(workspace: Workspace, found: _Snapshot, segment: int, position: int) -> dict[str, Any] | None:
    """Read files until the tick comes: the one that holds it, if the origins tell which; else from the first on."""
    adapter = load_adapter(workspace, found.schema.adapter, found.schema.parameters)
    order = list(dict.fromkeys(found.origins))
    known = len(order) == len(found.files)
    first = order.index(found.origins[segment]) if known else 0
    before = found.origins.index(found.origins[segment]) if known else 0
    with tempfile.TemporaryDirectory() as aside:  # the file's own quarantine is written by whoever reads it whole
        for path in list(found.files)[first:]:
            file = verified(Path(path), adapter)
            seen: dict[str, int] = {}
            for piece in read_ticks(file, adapter, Path(aside) / "refused", FileReport(file.path)):
                base = seen.get(piece.symbol, 0)
                seen[piece.symbol] = base + piece.batch.num_rows
                is_it = list(seen).index(piece.symbol) == segment - before
                if is_it and base <= position < seen[piece.symbol]:
                    return TickBlock(piece.symbol, base, piece.batch).packet(position - base)
            before += len(seen)
    return None
