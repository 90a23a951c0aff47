"""A chunk of CSV as rows with typed columns.

A clean chunk is read by Arrow straight into typed columns. Where Arrow stumbles, that chunk is read again as text and
cast column by column, halving until the bad cells are found; both ways give the same values.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lit.streams.ingest_bytes import COMMA, Chunk, Dialect
from lit.streams.ingest_rows import TYPES, Rows
from lit.streams.ingest_times import Mask, flat, lenient_cast

csv.field_size_limit(sys.maxsize)  # lines are bounded where files are read

_NOUNS = {"number": "a number", "integer": "a whole number", "instant": "a time with zone"}


def csv_rows(
    chunk: Chunk, header: Sequence[str], columns: Mapping[str, str], dialect: Dialect = COMMA, name: str = ""
) -> Rows:
    """Parse whole lines of a file.

    Parameters
    ----------
    header
        The file's columns, in its order.
    columns
        Column → kind, those that the adapter reads.
    """
    present = [column for column in header if column in columns]
    data = bytes(chunk.data)
    bad: list[tuple[Mask, str]] = []
    sound, table = _is_utf8(data), None
    if sound:
        table, broken = _parse(data, header, {column: TYPES[columns[column]] for column in present}, dialect)
    if table is not None:
        arrays = {column: flat(table.column(column)) for column in present}
    else:
        # Arrow cannot hand over a row with a wrong number of cells that is no UTF-8, so such chunks go in disguise.
        disguised = data if sound else data.decode("latin-1").encode()
        table, broken = _parse(disguised, header, dict.fromkeys(present, pa.binary()), dialect)
        assert table is not None
        arrays = {}
        for column in present:
            cells = flat(table.column(column))
            arrays[column] = _cast(column, columns[column], cells if sound else _undisguised(cells), bad, dialect)
    length = int(table.num_rows)
    if data.count(b'"') % 2:
        bad.append((np.ones(length, np.bool_), "a quote is left open"))
    return Rows(arrays, columns, length, name, _texts(chunk, length + len(broken), dialect), broken, bad)


def _is_utf8(data: bytes) -> bool:
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def _undisguised(cells: pa.Array) -> pa.Array:
    return pa.array(
        [cell if cell is None else cell.decode().encode("latin-1") for cell in cells.to_pylist()], pa.binary()
    )


def _parse(
    data: bytes, header: Sequence[str], types: Mapping[str, pa.DataType], dialect: Dialect
) -> tuple[pa.Table | None, list[tuple[int, str]]]:
    """Return the table, None if a cell is not of its type, and the rows with a wrong number of cells."""
    broken: list[tuple[int, str]] = []

    def wrong_count(row: Any) -> str:
        broken.append((row.number - 1, f"{row.actual_columns} cells instead of {row.expected_columns}"))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(use_threads=False, column_names=list(header), block_size=max(len(data), 1) + 1),
            arrow_csv.ParseOptions(
                delimiter=dialect.delimiter, invalid_row_handler=wrong_count, newlines_in_values=True
            ),
            arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                decimal_point=dialect.decimal,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        return table, broken
    except pa.ArrowInvalid as error:
        if "conversion error" in str(error) or "UTF8" in str(error):
            return None, []
        if "Empty CSV" in str(error):  # nothing but blank lines
            return pa.table({name: pa.array([], kind) for name, kind in types.items()}), broken
        raise


def _cast(column: str, kind: str, cells: pa.Array, bad: list[tuple[Mask, str]], dialect: Dialect) -> pa.Array:
    text, worse = lenient_cast(cells, pa.utf8())
    values = text
    if kind in ("number", "integer"):
        text = pc.utf8_trim(text, " \t")
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.utf8()), text)
        if dialect.decimal != ".":  # a point is no decimal mark then
            text = pc.replace_substring(pc.replace_substring(text, ".", "?"), dialect.decimal, ".")
    if TYPES[kind] != pa.utf8():
        values, worse = lenient_cast(text, TYPES[kind], worse)
    if worse.any():
        bad.append((worse, f"{column} is not {_NOUNS.get(kind, 'UTF-8 text')}"))
    return values


def _texts(chunk: Chunk, total: int, dialect: Dialect) -> Callable[[Sequence[int]], list[tuple[int, str]]]:
    """Return a function from rows, by place in the chunk, to their line numbers and texts."""

    def texts(places: Sequence[int]) -> list[tuple[int, str]]:
        spans = _spans(chunk, total, dialect)
        lines = bytes(chunk.data).split(b"\n")
        found = []
        for first, last in map(spans, places):
            text = b"\n".join(lines[first:last]).rstrip(b"\r").decode(errors="replace")
            found.append((chunk.first_line + first, text))
        return found

    return texts


def _spans(chunk: Chunk, total: int, dialect: Dialect) -> Callable[[int], tuple[int, int]]:
    """Return a function from a row to its lines (from, to) within the chunk."""
    if total == chunk.lines:
        return lambda row: (row, row + 1)
    # Blank lines, or line breaks within quotes: count as the csv module does, row by row (rare).
    text = io.StringIO(bytes(chunk.data).decode(errors="replace"), newline="")
    reader = csv.reader(text, delimiter=dialect.delimiter)
    spans, before = [], 0
    for cells in reader:
        if cells:
            spans.append((before, reader.line_num))
        before = reader.line_num
    whole = (0, chunk.lines)  # quotes out of place may be told apart in another way than by Arrow
    return lambda row: spans[row] if row < len(spans) else whole
