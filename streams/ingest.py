"""From a verified file to ticks by symbol, in the file's order: read, judged, split and counted, a chunk at a time."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.compression import told
from lit.streams.errors import LitError, UserError
from lit.streams.ingest_batches import batch_rows
from lit.streams.ingest_bytes import CHUNK_BYTES, SourceFile, chunks, digest_of, unchanged, verify
from lit.streams.ingest_csv import csv_rows
from lit.streams.ingest_rows import Rows
from lit.streams.ingest_times import NO_TIME
from lit.streams.quarantine import Quarantine
from lit.streams.sources import Adapter, adapter_error
from lit.streams.tick import TICK_SCHEMA

T = TypeVar("T")
_NEEDED = ("symbol", "timestamp", "Price", "Volume")


@dataclass(slots=True)
class Segment:
    """Ticks of one symbol in one file: how many, and the times (ns) of the earliest and the latest."""

    symbol: str
    count: int = 0
    first: int = np.iinfo(np.int64).max
    last: int = NO_TIME


@dataclass(slots=True)
class FileReport:
    """What came of a file: every row is a tick, passed over, or refused, and counted as such.

    `late` ticks are taken too: their time is before that of an earlier tick of their symbol (the clock jumped back).
    """

    path: Path
    rows: int = 0
    ticks: int = 0
    late: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    segments: dict[str, Segment] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive ticks of one symbol, columns as in a tick block."""

    symbol: str
    batch: pa.RecordBatch


def verified(path: Path, adapter: Adapter) -> SourceFile:
    """Read a file to its end by the adapter's rules, so that none is half-accepted, and return what it is.

    Raises
    ------
    UserError
        If it is missing, damaged, or not what the adapter reads.
    """
    if adapter.batches is None:
        file = verify(path, adapter.dialect)
    else:
        digest, size, changed = digest_of(path)
        header: tuple[str, ...] = ()
        total = 0
        for batch in _batches(adapter, path):
            header = header or tuple(batch.schema.names)
            total += batch.nbytes
        if not header:
            raise UserError(f"{path} holds no row that adapter {adapter.name!r} could read; name the right adapter.")
        file = SourceFile(path, digest, size, changed, total, header, path.name, None)
    adapter.check_header(file.header, path)
    return file


def _batches(adapter: Adapter, path: Path) -> Iterator[pa.RecordBatch]:
    assert adapter.batches is not None
    try:
        with told(path):
            yield from adapter.batches(path)
    except (LitError, GeneratorExit):
        raise
    except Exception as error:
        raise UserError(
            f"{path} cannot be read by adapter {adapter.name!r} ({type(error).__name__}: {error}). "
            "It is damaged, or of another kind: fetch it again, or name the right adapter."
        ) from error


def _rows(file: SourceFile, adapter: Adapter, chunk_bytes: int) -> Iterator[tuple[Rows, int]]:
    """Yield the rows of a file, some megabytes at a time, and how many bytes each time."""
    if file.dialect is not None:
        for chunk in chunks(file, chunk_bytes):
            yield csv_rows(chunk, file.header, adapter.columns, file.dialect, file.content), len(chunk.data)
        return
    unchanged(file)
    first = 1
    for batch in _batches(adapter, file.path):
        yield batch_rows(batch, first, adapter.columns, file.content), batch.nbytes
        first += batch.num_rows
    unchanged(file)


def read_ticks(
    file: SourceFile,
    adapter: Adapter,
    quarantine: Path,
    report: FileReport,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Piece]:
    """Yield a file's ticks in order, symbol by symbol within each chunk; `report` is complete at the end.

    Parameters
    ----------
    quarantine
        File for refused rows.
    on_bytes
        Called with the number of decompressed bytes of each chunk when its ticks were taken.

    Raises
    ------
    UserError
        If the header or the file does not fit, or the adapter's code fails.
    """
    adapter.check_header(file.header, file.path)

    with Quarantine(quarantine) as kept:
        source = ahead(_rows(file, adapter, chunk_bytes))
        try:
            for rows, size in source:
                table = _columns(rows, adapter)
                kept.add(rows.rejects())
                kept.keep(rows.aside())
                report.rows += rows.total
                report.skipped.update(rows.skipped())
                yield from _split(table, report)
                if on_bytes:
                    on_bytes(size)
        finally:
            source.close()
        report.rejects.update(kept.reasons)


def _columns(rows: Rows, adapter: Adapter) -> tuple[pa.DictionaryArray, pa.RecordBatch]:
    """Let the adapter judge the rows; return symbols and the other columns of the ticks among them."""
    try:
        found: Mapping[str, Any] = adapter.read(rows)
        lacking = [name for name in _NEEDED if name not in found]
        if lacking:
            raise KeyError(f"read() returned no {', '.join(lacking)}")
        columns = {name: _array(values, len(rows)) for name, values in found.items()}
        symbols = columns.pop("symbol")
        symbols = symbols if pa.types.is_dictionary(symbols.type) else symbols.cast(pa.utf8()).dictionary_encode()
        columns["timestamp"] = columns["timestamp"].cast(pa.int64())
        for name in ("Price", "Volume"):
            columns[name] = columns[name].cast(pa.float64())
        _check(rows, symbols, columns)
    except LitError:
        raise
    except Exception as error:
        raise adapter_error(adapter.path, error) from error
    arrays, fields = [], []
    for wanted in TICK_SCHEMA:
        column = columns.pop(wanted.name, None)
        if column is None:
            zero = wanted.name == "session"
            column = pa.array(np.zeros(len(rows), np.uint8)) if zero else pa.nulls(len(rows), wanted.type)
        arrays.append(column if column.type == wanted.type else column.cast(wanted.type))
        fields.append(wanted)
    for name, column in columns.items():
        arrays.append(column)
        fields.append(pa.field(name, column.type))
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    mask = rows.kept()
    if mask.all():
        return symbols, batch
    keep = pa.array(mask)
    return symbols.filter(keep), batch.filter(keep)


def _check(rows: Rows, symbols: pa.DictionaryArray, columns: Mapping[str, pa.Array]) -> None:
    """Refuse what no adapter may let through: a tick has a symbol, a time since 1970, a price and a volume."""
    empty = pc.is_null(symbols).to_numpy(zero_copy_only=False)
    rows.reject(empty, "symbol is missing")
    stamps = columns["timestamp"].fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    rows.reject(stamps == NO_TIME, "time is missing")
    rows.reject(stamps < 0, "time is before 1970")
    for name in ("Price", "Volume"):
        values = columns[name].fill_null(np.nan).to_numpy(zero_copy_only=False)
        rows.reject(~np.isfinite(values), f"{name} is not a finite number")


def _array(values: Any, length: int) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    if len(array) != length:
        raise ValueError(f"read() returned a column of {len(array)} values for {length} rows")
    return array


def _split(ticks: tuple[pa.DictionaryArray, pa.RecordBatch], report: FileReport) -> Iterator[Piece]:
    symbols, batch = ticks
    if not batch.num_rows:
        return
    codes = symbols.indices.to_numpy(zero_copy_only=False)
    names = symbols.dictionary.to_pylist()
    if (codes == codes[0]).all():
        yield _piece(str(names[codes[0]]), batch, report)
        return
    order = np.argsort(codes, kind="stable")
    batch = batch.take(pa.array(order))
    present, starts = np.unique(codes[order], return_index=True)
    stops = np.append(starts[1:], len(codes))
    for place in np.argsort(order[starts]):  # by first appearance
        start, stop = int(starts[place]), int(stops[place])
        yield _piece(str(names[present[place]]), batch.slice(start, stop - start), report)


def _piece(symbol: str, batch: pa.RecordBatch, report: FileReport) -> Piece:
    segment = report.segments.setdefault(symbol, Segment(symbol))
    stamps = batch.column("timestamp").to_numpy()
    peaks = np.maximum.accumulate(np.concatenate(([segment.last], stamps)))
    report.late += int((stamps < peaks[:-1]).sum())
    report.ticks += len(stamps)
    segment.count += len(stamps)
    segment.first = min(segment.first, int(stamps.min()))
    segment.last = int(peaks[-1])
    return Piece(symbol, batch)


def ahead(items: Iterator[T], depth: int = 2) -> Generator[T, None, None]:
    """Compute an iterator's items in a thread, up to `depth` ahead; closing the result ends the thread."""
    ready: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(done: bool, value: Any) -> None:
        while not stop.is_set():
            try:
                return ready.put((done, value), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(False, item)
                if stop.is_set():
                    return
            put(True, None)
        except BaseException as error:
            put(True, error)

    thread = threading.Thread(target=work, name="ingest-read", daemon=True)
    thread.start()
    try:
        while True:
            done, value = ready.get()
            if done and value is not None:
                raise value
            if done:
                return
            yield value
    finally:
        stop.set()
        thread.join()
