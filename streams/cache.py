"""The cache: files as ticks in the store, one origin a file, so that a dataset is made of files in any order.

A file's ticks go through the topic of its adapter (`ticks.<adapter>`), where the sink picks them up. Its origin is a
digest over the file and the adapter with its parameters: an edited adapter makes other ticks, so it makes another
origin. A file counts as cached when the store has as many ticks of its origin as were sent.

Ticks are sent once: a caching that was stopped or killed looks up what the topic has of its origin and goes on behind
it. Where the topic ended when it began is noted first, so that no more of it need be searched.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import msgspec

from lit.streams.atomic import write_file
from lit.streams.cached import CachedFile, begin_path, cached_files, note
from lit.streams.errors import FaultError, LitError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.ingest_bytes import SourceFile
from lit.streams.quarantine import quarantine_path
from lit.streams.replay import BLOCK_TICKS, DELIVERY_SECONDS
from lit.streams.replay_send import Sender
from lit.streams.replay_tail import Tail
from lit.streams.sources import Adapter, load_adapter
from lit.streams.store import TickStore
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace

__all__ = [
    "CacheProgress",
    "CachedFile",
    "CachingStoppedError",
    "await_cached",
    "cache_file",
    "cached_files",
    "origin_of",
]

_POLL_SECONDS = 0.2


@dataclass
class CacheProgress:
    """How far the sending of a file is; `bytes` are decompressed ones."""

    bytes: int = 0
    total: int = 0
    ticks: int = 0
    sent: int = 0


class CachingStoppedError(LitError):
    """The caching of a file was stopped by its user; it goes on where it stopped."""


def origin_of(file: SourceFile, adapter: Adapter) -> str:
    """Return the origin of a file's ticks as an adapter reads them."""
    return "sha256:" + hashlib.sha256(f"{file.digest} {adapter.digest}".encode()).hexdigest()[:16]


def cache_file(
    workspace: Workspace,
    adapter_name: str,
    path: Path,
    bootstrap: str,
    topic: str,
    on_bytes: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    parameters: Mapping[str, Any] | None = None,
    progress: CacheProgress | None = None,
    stop: Event | None = None,
) -> CachedFile:
    """Send a file's ticks to the adapter's topic, as far as it lacks them, and note the file.

    Parameters
    ----------
    on_bytes
        Called after each block with the decompressed bytes that were read, and their number in all.
    parameters
        Those of the adapter.
    progress
        Is kept up to date.
    stop
        Set it to stop after the block at hand.

    Raises
    ------
    UserError
        If the file is missing, broken or not what the adapter reads; nothing was sent then.
    CachingStoppedError
        If it was stopped.
    FaultError
        If Kafka does not take the ticks.
    """
    adapter = load_adapter(workspace, adapter_name, parameters)
    file = verified(path, adapter)
    origin = origin_of(file, adapter)
    entries = cached_files(workspace)
    known = entries.get(str(path))
    if known and known.origin == origin and known.current:
        return known
    twin = next((entry for entry in entries.values() if entry.origin == origin and entry.adapter == adapter_name), None)
    if twin:  # the same content elsewhere, or the same file touched: its ticks are there
        entry = msgspec.structs.replace(twin, path=str(path), size=file.size, mtime_ns=file.mtime_ns)
        note(workspace, entry)
        return entry
    report = FileReport(path)
    progress = progress or CacheProgress()
    progress.total = file.raw_size
    stop = stop or Event()
    spans: list[int] = []

    def advance(size: int) -> None:
        progress.bytes += size
        on_bytes(progress.bytes, file.raw_size)

    tail = Tail(bootstrap, topic, _begin(workspace, origin, Tail(bootstrap, topic)))
    sender = Sender(bootstrap, topic, DELIVERY_SECONDS)
    counts: dict[str, int] = {}
    try:
        for piece in read_ticks(file, adapter, quarantine_path(workspace, path), report, on_bytes=advance):
            for start in range(0, piece.batch.num_rows, BLOCK_TICKS):
                if stop.is_set():
                    sender.finish()
                    raise CachingStoppedError(f"{path}: stopped; caching it again goes on from here")
                first = counts.get(piece.symbol, 0)
                block = TickBlock(piece.symbol, first, piece.batch.slice(start, BLOCK_TICKS), origin)
                counts[piece.symbol] = block.next_index
                spans += [int(block.timestamp.min()), int(block.timestamp.max())]
                last = tail.last(origin, piece.symbol)
                rest = block.slice(last.next_index - first) if last else block
                if len(rest):
                    sender.send(rest, "", int(rest.timestamp[-1]))
                progress.ticks += len(block)
                progress.sent += len(rest)
                on_bytes(progress.bytes, file.raw_size)
        sender.finish()
        accounted = report.ticks + report.skipped.total() + report.rejects.total()
        if report.rows != accounted or report.ticks != sum(counts.values()):
            raise FaultError(
                f"{path}: of {report.rows:,} rows only {accounted:,} are accounted for; please report this"
            )
    except BaseException:
        sender.abandon()
        raise
    finally:
        tail.close()
    entry = CachedFile(
        str(path),
        adapter_name,
        origin,
        file.size,
        report.rows,
        report.ticks,
        report.late,
        dict(report.rejects),
        list(counts.items()),
        str(min(spans, default=0)),
        str(max(spans, default=0)),
        parameters=dict(adapter.parameters),
        mtime_ns=file.mtime_ns,
        skipped=dict(report.skipped),
        adapter_digest=adapter.digest,
    )
    note(workspace, entry)
    return entry


def _begin(workspace: Workspace, origin: str, tail: Tail) -> dict[int, int]:
    """Return where in the topic an origin's first tick can be, by partition; noted when its first caching begins."""
    tail.close()
    path = begin_path(workspace, origin)
    try:
        begin = msgspec.json.decode(path.read_bytes(), type=dict[int, int])
    except (FileNotFoundError, msgspec.MsgspecError):
        begin = {}
    if set(begin) != set(tail.ends) or any(begin[number] > end for number, end in tail.ends.items()):
        begin = dict(tail.ends) if not begin else dict.fromkeys(tail.ends, 0)  # of a topic that was made anew: all
        write_file(path, msgspec.json.encode(begin), durable=True)
    return begin


def await_cached(workspace: Workspace, entry: CachedFile, store: TickStore, seconds: float = 120.0) -> CachedFile:
    """Wait until the store holds all ticks of a file, note it, and return the entry.

    Raises
    ------
    FaultError
        If the count does not get there while nothing comes in any more for `seconds`.
    """
    if entry.cached:
        return entry
    seen, since = -1, time.monotonic()
    while (count := store.count(entry.adapter, entry.origin)) != entry.ticks:
        if count != seen:
            seen, since = count, time.monotonic()
        elif time.monotonic() - since > seconds:
            raise FaultError(
                f"{entry.path}: the store holds {count:,} of {entry.ticks:,} ticks and gets no more: "
                f"is the sink of {entry.adapter!r} running? `lit status` tells"
            )
        time.sleep(_POLL_SECONDS)
    entry = msgspec.structs.replace(entry, cached=True)
    note(workspace, entry)
    return entry
