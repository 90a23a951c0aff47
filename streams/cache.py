"""The cache: files as ticks in the store, one origin a file, so that a dataset is made of files in any order.

A file's ticks go through the topic of its adapter (`ticks.<adapter>`), where the sink picks them up. Its origin is a
digest over the file and the adapter: an edited adapter makes other ticks, so it makes another origin. A file counts as
cached when the store has as many ticks of its origin as were sent.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lit.streams.errors import FaultError
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

_POLL_SECONDS = 0.2


class CachedFile(msgspec.Struct, frozen=True):
    """What is known of a file that was sent.

    Parameters
    ----------
    segments
        (symbol, ticks) in order of first appearance.
    first, last
        Time of its first and last tick, ns as text.
    cached
        Whether the store has been seen to hold all of its ticks.
    """

    path: str
    adapter: str
    origin: str
    size: int
    rows: int
    ticks: int
    late: int
    rejects: dict[str, int]
    segments: list[tuple[str, int]]
    first: str
    last: str
    cached: bool = False


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
) -> CachedFile:
    """Send a file's ticks to the adapter's topic, as far as it lacks them, and note the file.

    Raises
    ------
    UserError
        If the file is missing, broken or not what the adapter reads; nothing was sent then.
    FaultError
        If Kafka does not take the ticks.
    """
    adapter = load_adapter(workspace, adapter_name)
    file = verified(path, adapter)
    origin = origin_of(file, adapter)
    known = cached_files(workspace).get(str(path))
    if known and known.origin == origin:
        return known
    report = FileReport(path)
    done = 0
    spans: list[int] = []

    def advance(size: int) -> None:
        nonlocal done
        done += size
        on_bytes(done, file.raw_size)

    tail = Tail(bootstrap, topic)
    sender = Sender(bootstrap, topic, DELIVERY_SECONDS)
    counts: dict[str, int] = {}
    try:
        for piece in read_ticks(file, adapter, quarantine_path(workspace, path), report, on_bytes=advance):
            for start in range(0, piece.batch.num_rows, BLOCK_TICKS):
                first = counts.get(piece.symbol, 0)
                block = TickBlock(piece.symbol, first, piece.batch.slice(start, BLOCK_TICKS), origin)
                counts[piece.symbol] = block.next_index
                spans += [int(block.timestamp.min()), int(block.timestamp.max())]
                last = tail.last(origin, piece.symbol)
                rest = block.slice(last.next_index - first) if last else block
                if len(rest):
                    sender.send(rest, "", int(rest.timestamp[-1]))
        sender.finish()
    except BaseException:
        sender.abandon()
        raise
    finally:
        tail.close()
    entry = CachedFile(
        str(path),
        adapter_name,
        origin,
        path.stat().st_size,
        report.rows,
        report.ticks,
        report.late,
        dict(report.rejects),
        list(counts.items()),
        str(min(spans, default=0)),
        str(max(spans, default=0)),
    )
    _note(workspace, entry)
    return entry


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
    _note(workspace, entry)
    return entry


def cached_files(workspace: Workspace) -> dict[str, CachedFile]:
    """Return what is known of files that were sent, by path."""
    path = _registry(workspace)
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, CachedFile])


def _note(workspace: Workspace, entry: CachedFile) -> None:
    with _locked(workspace):
        entries = {**cached_files(workspace), entry.path: entry}
        part = _registry(workspace).with_suffix(".part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1))
        part.replace(_registry(workspace))


def _registry(workspace: Workspace) -> Path:
    return workspace.folder("raw") / ".cached.json"


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    with (workspace.folder("raw") / ".cached.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
