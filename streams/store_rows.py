"""Tick blocks as rows of the table `ticks`, and back. Columns of adapters beyond the tick model go into a map of
texts; `kinds` remembers their Arrow types, so that a block comes back as it went in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.tick import TICK_SCHEMA, TickBlock

TABLE = """
CREATE TABLE IF NOT EXISTS ticks (
    team LowCardinality(String), source LowCardinality(String), origin LowCardinality(String),
    symbol LowCardinality(String),
    idx Int64 CODEC(Delta, ZSTD(1)),
    timestamp Int64 CODEC(Delta, ZSTD(1)),
    time DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(timestamp, 'UTC'),
    price Float64 CODEC(ZSTD(1)), volume Float64 CODEC(ZSTD(1)),
    seq_no Nullable(Int64) CODEC(Delta, ZSTD(1)),
    session UInt8 CODEC(ZSTD(1)),
    qualifiers LowCardinality(Nullable(String)),
    extras Map(String, String) CODEC(ZSTD(1)),
    kinds LowCardinality(String),
    partition Int32 CODEC(ZSTD(1)), offset Int64 CODEC(Delta, ZSTD(1)), i Int32 CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (team, source, origin, symbol, idx)
SETTINGS non_replicated_deduplication_window = 0
"""
#: What a block needs; `idx` too, to see that the rows have no hole.
COLUMNS = "idx, timestamp, price, volume, seq_no, session, qualifiers, extras, kinds"

_DICTIONARY = pa.dictionary(pa.int32(), pa.utf8())
_KINDS = {
    str(kind): kind
    for kind in (*(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
                 pa.float32(), pa.float64(), pa.bool_(), pa.utf8())
}  # fmt: skip


def to_rows(team: str, source: str, partition: int, blocks: Sequence[tuple[int, TickBlock]]) -> pa.Table:
    """Return the rows of some messages of one partition."""
    return pa.concat_tables([_rows(team, source, partition, offset, block) for offset, block in blocks])


def _rows(team: str, source: str, partition: int, offset: int, block: TickBlock) -> pa.Table:
    count = len(block)
    extras, kinds = _pack(block.batch)
    named = {
        "team": _same(team, count),
        "source": _same(source, count),
        "origin": _same(block.origin, count),
        "symbol": _same(block.symbol, count),
        "idx": pa.array(np.arange(block.first_index, block.next_index, dtype=np.int64)),
        "timestamp": block.batch.column("timestamp"),
        "price": block.batch.column("Price"),
        "volume": block.batch.column("Volume"),
        "seq_no": block.batch.column("Seq. No."),
        "session": block.batch.column("session"),
        # As plain text: blocks have dictionaries of their own, and one insert is one batch.
        "qualifiers": block.batch.column("Qualifiers").cast(pa.utf8()),
        "extras": extras,
        "kinds": _same(kinds, count),
        "partition": pa.array(np.full(count, partition, np.int32)),
        "offset": pa.array(np.full(count, offset, np.int64)),
        "i": pa.array(np.arange(count, dtype=np.int32)),
    }
    return pa.table(named)


def _same(text: str, count: int) -> pa.Array:
    return pa.array([text], pa.utf8()).take(pa.array(np.zeros(count, np.int64)))


def _pack(batch: pa.RecordBatch) -> tuple[pa.Array, str]:
    """Return extra columns as one map column (a null is no entry), and their types as JSON."""
    names = batch.schema.names[len(TICK_SCHEMA.names) :]
    kinds, texts = {}, []
    for name in names:
        column = batch.column(name)
        plain = "dictionary" if pa.types.is_dictionary(column.type) else str(column.type)
        kinds[name] = plain if plain in _KINDS or plain == "dictionary" else "string"
        texts.append(column.cast(pa.utf8()))
    rows = batch.num_rows
    # Column by column into row order, then the nulls drop out.
    width = len(names)
    flat = pa.concat_arrays(texts) if texts else pa.array([], pa.utf8())
    order = np.arange(rows * width, dtype=np.int64).reshape(width, rows).T.ravel()
    flat = flat.take(pa.array(order))
    keys = pa.array(names, pa.utf8()).take(pa.array(np.tile(np.arange(width, dtype=np.int64), rows)))
    valid = pc.is_valid(flat)
    ends = np.cumsum(valid.to_numpy(zero_copy_only=False).reshape(rows, width).sum(axis=1)) if width else np.zeros(rows)
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pa.MapArray.from_arrays(offsets, keys.filter(valid), flat.filter(valid)), msgspec.json.encode(kinds).decode()


def to_block(table: pa.Table, symbol: str, first: int, origin: str) -> TickBlock:
    """Return rows in order of `idx` as a block.

    Raises
    ------
    ValueError
        If an index is missing between them, or extra columns change type within them.
    """
    table = table.combine_chunks()
    rows = table.num_rows
    if rows and not np.array_equal(table.column("idx").to_numpy(), np.arange(first, first + rows)):
        raise ValueError(f"ticks of {symbol} from index {first} have a hole")
    kinds: dict[str, str] = {}
    for text in pc.unique(table.column("kinds")).to_pylist():
        kinds.update(msgspec.json.decode(text))
    named: dict[str, Any] = dict(zip(TICK_SCHEMA.names, ("timestamp", "price", "volume", "seq_no", "session",
                                                         "qualifiers"), strict=True))  # fmt: skip
    columns = [_one(table.column(row)).cast(TICK_SCHEMA.field(name).type) for name, row in named.items()]
    fields = list(TICK_SCHEMA)
    for name, kind in kinds.items():
        found = _one(pc.map_lookup(_one(table.column("extras")), name, "first")).cast(pa.utf8())
        wanted = arrow_type(kind)
        columns.append(found.dictionary_encode() if kind == "dictionary" else found.cast(wanted))
        fields.append(pa.field(name, wanted))
    return TickBlock(symbol, first, pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields)), origin)


def arrow_type(kind: str) -> pa.DataType:
    """Return the type of an extra column by what `kinds` says."""
    return _DICTIONARY if kind == "dictionary" else _KINDS[kind]


def _one(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty one stays chunked
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column
