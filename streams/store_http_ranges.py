"""`RangeReads` of another process: a query as MessagePack, its answer as one Arrow stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from lit.streams.search import Condition
from lit.streams.store import RangeReads, TickRange
from lit.streams.tick import Int64Array


class RangeQuery(msgspec.Struct, frozen=True):
    """One call of `RangeReads`; only the arguments of its kind are there."""

    kind: str
    source: str
    ranges: tuple[TickRange, ...]
    names: tuple[str, ...] = ()
    search: Condition | None = None
    width: int = 1


def answer(reads: RangeReads, body: bytes) -> bytes:
    """Return the answer to a query.

    Raises
    ------
    msgspec.MsgspecError
        If the body is not a query.
    """
    query = msgspec.msgpack.decode(body, type=RangeQuery)
    return arrow_stream(_answer(reads, query))


def _answer(reads: RangeReads, query: RangeQuery) -> pa.Table:
    if query.kind == "columns":
        return reads.columns(query.source, query.ranges, query.names)
    if query.kind == "extremes":
        return reads.extremes(query.source, query.ranges, query.width)
    if query.kind == "extras":
        found = reads.extras(query.source, query.ranges)
        return pa.table({"name": pa.array(found.keys(), pa.utf8()), "kind": pa.array(found.values(), pa.utf8())})
    if query.kind == "peaks":
        peaks = reads.peaks(query.source, query.ranges, query.width)
        numbers = np.repeat(np.arange(len(peaks)), [len(own) for own in peaks])
        return pa.table({"range": numbers, "latest": np.concatenate(peaks or [np.zeros(0, np.int64)])})
    if query.search is not None and query.kind == "matches":
        numbers, index = reads.matches(query.source, query.ranges, query.search)
        return pa.table({"range": numbers, "index": index})
    if query.search is not None and query.kind == "count":
        return pa.table({"count": [reads.count(query.source, query.ranges, query.search)]})
    raise msgspec.ValidationError(f"a query of kind {query.kind!r} is unknown or lacks its search")


def arrow_stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


class HttpRanges:
    """Reads through a function that sends a body and returns the answer's."""

    def __init__(self, ask: Callable[[bytes], bytes]) -> None:
        self._send = ask

    def columns(self, source: str, ranges: Sequence[TickRange], names: Sequence[str]) -> pa.Table:
        """Return columns of ticks."""
        return self._ask(RangeQuery("columns", source, tuple(ranges), names=tuple(names)))

    def extras(self, source: str, ranges: Sequence[TickRange]) -> dict[str, str]:
        """Return the fields beyond the tick model."""
        found = self._ask(RangeQuery("extras", source, tuple(ranges)))
        return dict(zip(found.column("name").to_pylist(), found.column("kind").to_pylist(), strict=True))

    def matches(self, source: str, ranges: Sequence[TickRange], search: Condition) -> tuple[Int64Array, Int64Array]:
        """Return which ticks fulfil a search."""
        found = self._ask(RangeQuery("matches", source, tuple(ranges), search=search))
        return found.column("range").to_numpy(), found.column("index").to_numpy()

    def count(self, source: str, ranges: Sequence[TickRange], search: Condition) -> int:
        """Return how many ticks fulfil a search."""
        return int(self._ask(RangeQuery("count", source, tuple(ranges), search=search)).column("count")[0].as_py())

    def extremes(self, source: str, ranges: Sequence[TickRange], width: int) -> pa.Table:
        """Return what lies in each run of `width` ticks."""
        return self._ask(RangeQuery("extremes", source, tuple(ranges), width=width))

    def peaks(self, source: str, ranges: Sequence[TickRange], width: int) -> list[Int64Array]:
        """Return the latest times of each range."""
        found = self._ask(RangeQuery("peaks", source, tuple(ranges), width=width))
        numbers, latest = found.column("range").to_numpy(), found.column("latest").to_numpy()
        return [latest[numbers == number] for number in range(len(ranges))]

    def _ask(self, query: RangeQuery) -> pa.Table:
        return pa.ipc.open_stream(self._send(msgspec.msgpack.encode(query))).read_all()
