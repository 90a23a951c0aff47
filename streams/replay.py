"""Replays files as ticks: one sequence a symbol, in the files' order, into a tick topic; resumable without a trace.

The topic itself is the progress: a replay that was killed reads its tail and goes on behind it. Every message carries
a mark, a digest over the adapter and the files up to its own, so that a topic with other ticks is refused.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa

from lit.streams.errors import UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.ingest_bytes import SourceFile
from lit.streams.quarantine import quarantine_path
from lit.streams.replay_send import Sender
from lit.streams.replay_tail import Tail
from lit.streams.sources import Adapter, load_adapter
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark
from lit.streams.timeline import Clock, Pace, timeline
from lit.streams.workspace import Workspace

#: Ticks in a block at the most.
BLOCK_TICKS = 8192
#: How long Kafka may take to accept a message before the replay gives up.
DELIVERY_SECONDS = 30.0


@dataclass(frozen=True)
class ReplayPlan:
    """Files that were read to their end once (so none is half-accepted), and the adapter that reads them."""

    workspace: Workspace
    adapter: Adapter
    files: tuple[SourceFile, ...]

    @property
    def marks(self) -> tuple[str, ...]:
        """A mark for each file: a digest chain over the adapter and the files up to that one."""
        mark, marks = self.adapter.digest, []
        for file in self.files:
            mark = hashlib.sha256(f"{mark} {file.digest}".encode()).hexdigest()[:16]
            marks.append(mark)
        return tuple(marks)

    @property
    def raw_bytes(self) -> int:
        """Decompressed size of all files."""
        return sum(file.raw_size for file in self.files)


@dataclass
class ReplayProgress:
    """How far a replay is; handed to the progress callback and returned at the end.

    `segments` are (symbol, ticks) of each file that was read to its end, in order of first appearance: the layout of
    the files as one dataset.
    """

    total_bytes: int
    read_bytes: int = 0
    ticks: int = 0
    sent: int = 0
    late: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    symbols: dict[str, int] = field(default_factory=dict)
    segments: list[tuple[str, int]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False


def plan_files(
    workspace: Workspace, adapter: str, paths: Sequence[Path], parameters: Mapping[str, Any] | None = None
) -> ReplayPlan:
    """Check files whole and return the plan to replay them in this order, read with the adapter's parameters.

    Raises
    ------
    UserError
        If a file is missing, broken or not what the adapter reads, or no file is named.
    """
    if not paths:
        raise UserError("no file to replay: name at least one, such as examples/data/IBM.N_20131007.csv.gz")
    loaded = load_adapter(workspace, adapter, parameters)
    return ReplayPlan(workspace, loaded, tuple(verified(Path(path), loaded) for path in paths))


def blocks(plan: ReplayPlan, progress: ReplayProgress) -> Iterator[tuple[str, TickBlock]]:
    """Yield (mark, block) of a plan in order; positions count on over files."""
    for batches in file_batches(plan, progress):
        for mark, symbol, batch in batches:
            first = progress.symbols.get(symbol, 0)
            progress.symbols[symbol] = first + batch.num_rows
            yield mark, TickBlock(symbol, first, batch)


def file_batches(plan: ReplayPlan, progress: ReplayProgress) -> list[Iterator[tuple[str, str, pa.RecordBatch]]]:
    """Return, for each file, what yields its (mark, symbol, ticks) in order."""
    return [_batches(plan, file, mark, progress) for mark, file in zip(plan.marks, plan.files, strict=True)]


def _batches(
    plan: ReplayPlan, file: SourceFile, mark: str, progress: ReplayProgress
) -> Iterator[tuple[str, str, pa.RecordBatch]]:
    """Yield (mark, symbol, batch) of a file, and account for it in `progress` when it is at its end."""
    report = FileReport(file.path)
    counts: dict[str, int] = {}

    def advance(size: int) -> None:
        progress.read_bytes += size

    for piece in read_ticks(file, plan.adapter, quarantine_path(plan.workspace, file.path), report, on_bytes=advance):
        counts[piece.symbol] = counts.get(piece.symbol, 0) + piece.batch.num_rows
        for start in range(0, piece.batch.num_rows, BLOCK_TICKS):
            batch = piece.batch.slice(start, BLOCK_TICKS)
            progress.ticks += batch.num_rows
            yield mark, piece.symbol, batch
    progress.segments.extend(counts.items())
    progress.late += report.late
    progress.rejects.update(report.rejects)


def replay(
    bootstrap: str,
    topic: str,
    plan: ReplayPlan,
    *,
    pace: Pace | None = None,
    end_marks: bool = False,
    stop: Event | None = None,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> ReplayProgress:
    """Send a plan's ticks, as fast as Kafka takes them or at a pace, skipping what the topic holds already.

    Parameters
    ----------
    bootstrap, topic
        Where to; the topic must exist.
    pace
        How fast market time passes, symbols in step; none: file after file, as fast as possible.
    end_marks
        Whether to end each symbol's sequence, as a build's topic needs; nothing can be added behind that.
    stop
        Set it to stop after the block at hand; a later call goes on there.

    Returns
    -------
    ReplayProgress
        What was read and how many ticks were sent in this call.

    Raises
    ------
    UserError
        If the topic holds ticks of other files.
    FaultError
        If Kafka does not take the ticks.
    """
    progress = ReplayProgress(plan.raw_bytes)
    began = time.monotonic()
    stop = stop or Event()
    tail = Tail(bootstrap, topic)
    sender = Sender(bootstrap, topic, DELIVERY_SECONDS)
    clock = Clock(pace, stop) if pace else None
    try:
        _refuse_foreign(tail, plan, topic)
        for mark, item, due in _items(plan, progress, pace):
            rest = _missing(tail, item)
            if rest is None:
                continue
            if clock:
                sender.poll(0)
                clock.wait(due)
            if stop.is_set():
                progress.stopped = True
                break
            sender.send(rest, mark, due)
            progress.sent += len(rest) if isinstance(rest, TickBlock) else 0
            progress.seconds = time.monotonic() - began
            if on_progress is not None:
                on_progress(progress)
        if end_marks and not progress.stopped:
            _end(sender, tail, plan, progress)
        sender.finish()
    except BaseException:
        sender.abandon()
        raise
    finally:
        tail.close()
    progress.seconds = time.monotonic() - began
    return progress


def _items(
    plan: ReplayPlan, progress: ReplayProgress, pace: Pace | None
) -> Iterator[tuple[str, TickBlock | Watermark, int]]:
    if pace is not None:
        yield from timeline(file_batches(plan, progress), pace, progress.symbols)
        return
    for mark, block in blocks(plan, progress):
        yield mark, block, int(block.timestamp[-1])


def _missing(tail: Tail, item: TickBlock | Watermark) -> TickBlock | Watermark | None:
    """Return what the topic lacks of an item: all of it, its rest, or nothing."""
    last = tail.last("", item.symbol)
    if last is None:
        return item
    if isinstance(item, Watermark):
        return item if item.next_index >= last.next_index and not last.ends else None
    rest = item.slice(last.next_index - item.first_index)
    return rest if len(rest) else None


def _refuse_foreign(tail: Tail, plan: ReplayPlan, topic: str) -> None:
    if tail.foreign_marks(set(plan.marks)):
        raise UserError(
            f"topic {topic} holds ticks of other files (or of another version of the adapter): "
            "choose another stream name, or delete that topic"
        )


def _end(sender: Sender, tail: Tail, plan: ReplayPlan, progress: ReplayProgress) -> None:
    now = time.time_ns()
    for symbol, count in progress.symbols.items():
        last = tail.last("", symbol)
        if last is None or not last.ends:
            sender.send(Watermark(symbol, END_OF_TIME, count), plan.marks[-1], now)
