"""Rows of a CSV as typed columns: one bad cell refuses its row, never the file.

A clean chunk is read by Arrow straight into typed columns. Where Arrow stumbles, that chunk is read again as text and
cast column by column, halving until the bad cells are found; both ways give the same values.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lit.streams.ingest_bytes import Chunk

Mask = npt.NDArray[np.bool_]
_TEXT = pa.dictionary(pa.int32(), pa.utf8())
_NS = pa.timestamp("ns", "UTC")
_TYPES = {"text": _TEXT, "number": pa.float64(), "integer": pa.int64(), "instant": _NS, "clock": pa.utf8()}
_NOUNS = {"number": "a number", "integer": "a whole number", "instant": "a time with zone", "text": "UTF-8 text"}
NO_TIME = np.iinfo(np.int64).min


class Rows:
    """Rows of a file as columns, for an adapter's `read`; masks say which rows are no ticks, and why.

    A column that the file lacks reads as blank in every row. The first reason given for a row holds, and a row that
    is skipped is never counted as refused.
    """

    def __init__(self, chunk: Chunk, header: Sequence[str], columns: Mapping[str, str]) -> None:
        self._chunk = chunk
        self._kinds = columns
        self._present = [name for name in header if name in columns]
        self._broken: list[tuple[int, str]] = []  # (row among all rows, reason): wrong number of cells
        self._bad: list[tuple[Mask, str]] = []
        table = self._read(list(header), {name: _TYPES[columns[name]] for name in self._present})
        if table is None:
            self._broken.clear()
            table = self._read(list(header), dict.fromkeys(self._present, pa.binary()))
            assert table is not None
            arrays = {name: self._cast(name, _flat(table.column(name))) for name in self._present}
        else:
            arrays = {name: _flat(table.column(name)) for name in self._present}
        self._length = int(table.num_rows)
        if bytes(chunk.data).count(b'"') % 2:
            self._bad.append((np.ones(self._length, np.bool_), "a quote is left open"))
        self._arrays = arrays
        self._reasons: list[tuple[str, bool]] = []  # text, whether skipped
        self._verdict = np.full(self._length, -1, np.int16)

    def _read(self, names: list[str], types: dict[str, pa.DataType]) -> pa.Table | None:
        def broken(row: Any) -> str:
            self._broken.append((row.number - 1, f"{row.actual_columns} cells instead of {row.expected_columns}"))
            return "skip"

        try:
            return arrow_csv.read_csv(
                pa.BufferReader(self._chunk.data),
                arrow_csv.ReadOptions(
                    use_threads=False, column_names=names, block_size=max(len(self._chunk.data), 1) + 1
                ),
                arrow_csv.ParseOptions(invalid_row_handler=broken, newlines_in_values=True),
                arrow_csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            if "conversion error" in str(error) or "UTF8" in str(error):
                return None
            if "Empty CSV" in str(error):  # nothing but blank lines
                return pa.table({name: pa.array([], kind) for name, kind in types.items()})
            raise

    def _cast(self, name: str, cells: pa.Array) -> pa.Array:
        kind = self._kinds[name]
        text, bad = lenient_cast(cells, pa.utf8())
        if kind in ("number", "integer"):
            text = _null_blank(pc.utf8_trim(text, " \t"))
        values, worse = (text, bad) if kind == "clock" else lenient_cast(text, _TYPES[kind], bad)
        if worse.any():
            self._bad.append((worse, f"{name} is not {_NOUNS.get(kind, 'UTF-8 text')}"))
        return values

    def __len__(self) -> int:
        return self._length

    @property
    def total(self) -> int:
        """Number of rows, those with a wrong number of cells included (an adapter does not see them)."""
        return self._length + len(self._broken)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> pa.Array:
        """Return a column; text comes dictionary-coded, with null where the cell is blank."""
        if name not in self._arrays:
            self._arrays[name] = pa.nulls(self._length, _TYPES[self._kinds[name]])
        return self._arrays[name]

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """Return a column as float64, NaN where blank."""
        return np.asarray(self[name].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)

    def blank(self, name: str) -> Mask:
        """Return where a column has no value."""
        return np.asarray(pc.is_null(self[name]).to_numpy(zero_copy_only=False))

    def equals(self, name: str, *values: str) -> Mask:
        """Return where a text column is one of `values`."""
        wanted = set(values)
        return self.distinct(name, lambda text: text in wanted)

    def matches(self, name: str, expression: str) -> Mask:
        """Return where a regular expression is found in a text column."""
        pattern = re.compile(expression)
        return self.distinct(name, lambda text: pattern.search(text) is not None)

    def distinct(self, name: str, test: Callable[[str], Any], blank: Any = False) -> npt.NDArray[Any]:
        """Call `test` once for each distinct text of a column and return its answers for all rows."""
        column = self[name]
        answers = np.array([*(test(text) for text in column.dictionary.to_pylist()), blank])
        codes = column.indices.fill_null(len(answers) - 1).to_numpy(zero_copy_only=False)
        return np.asarray(answers[codes])

    def instants(self, name: str, clock: str | None = None) -> npt.NDArray[np.int64]:
        """Return times as int64 ns since the epoch, UTC; rows without a readable one are refused.

        Parameters
        ----------
        name
            An `instant` column; or, with `clock`, a text column of days as `01-MAY-2012`, `20150102` or `2015-01-02`.
        clock
            A `clock` column, the time of day in UTC.
        """
        if clock is None:
            column = self[name]
            self.reject(self.blank(name), f"{name} is missing")
            return np.asarray(column.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False))
        days = self.distinct(name, _day, blank=NO_TIME).astype(np.int64)
        text = pc.binary_join_element_wise("1970-01-01T", pc.utf8_trim(self[clock], " "), "Z", "")
        moments, bad = lenient_cast(text, _NS)
        self.reject(self.blank(name), f"{name} is missing")
        self.reject(days == NO_TIME, f"{name} is not a day")
        self.reject(self.blank(clock), f"{clock} is missing")
        self.reject(bad, f"{clock} is not a time of day")
        clocks = moments.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return np.asarray(np.where(days == NO_TIME, NO_TIME, days + clocks))

    def skip(self, mask: Mask, reason: str) -> None:
        """Pass over rows that are no ticks by nature, counted under `reason`."""
        self._judge(mask, reason, skipped=True)

    def reject(self, mask: Mask, reason: str) -> None:
        """Refuse rows that should be ticks and are not usable: they go to quarantine."""
        self._judge(mask, reason, skipped=False)

    def _judge(self, mask: Mask, reason: str, skipped: bool) -> None:
        if not mask.any():
            return
        if not skipped:
            self._judge_bad_cells()
        fresh = mask & (self._verdict < 0)
        if fresh.any():
            self._verdict[fresh] = len(self._reasons)
            self._reasons.append((reason, skipped))

    def _judge_bad_cells(self) -> None:
        pending, self._bad = self._bad, []
        for mask, reason in pending:
            self._judge(mask, reason, skipped=False)

    def kept(self) -> Mask:
        """Return which rows are ticks, after all that was said."""
        self._judge_bad_cells()
        return self._verdict < 0

    def skipped(self) -> dict[str, int]:
        """Return how many rows were passed over, by reason."""
        found = {}
        for code, (reason, skipped) in enumerate(self._reasons):
            if skipped:
                found[reason] = int((self._verdict == code).sum())
        return found

    def rejects(self) -> list[tuple[int, str, str]]:
        """Return refused rows as (line number, reason, the row's text), in the file's order."""
        refused = [code for code, (_, skipped) in enumerate(self._reasons) if not skipped]
        rows = np.flatnonzero(np.isin(self._verdict, refused)) if refused else np.zeros(0, np.int64)
        if not len(rows) and not self._broken:
            return []
        broken = dict(self._broken)
        places = np.setdiff1d(np.arange(self._length + len(broken)), np.fromiter(broken, np.int64, len(broken)))
        reasons = {int(places[row]): self._reasons[self._verdict[row]][0] for row in rows} | broken
        spans = self._spans()
        lines = bytes(self._chunk.data).split(b"\n")
        found = []
        for place in sorted(reasons):
            first, last = spans(place)
            text = b"\n".join(lines[first:last]).rstrip(b"\r").decode(errors="replace")
            found.append((self._chunk.first_line + first, reasons[place], text))
        return found

    def _spans(self) -> Callable[[int], tuple[int, int]]:
        """Return a function from a row to its lines (from, to) within the chunk."""
        total = self._length + len(self._broken)
        if total == self._chunk.lines:
            return lambda row: (row, row + 1)
        # Blank lines, or line breaks within quotes: count as the csv module does, row by row (rare).
        text = io.StringIO(bytes(self._chunk.data).decode(errors="replace"), newline="")
        reader = csv.reader(text)
        spans, before = [], 0
        for cells in reader:
            if cells:
                spans.append((before, reader.line_num))
            before = reader.line_num
        return lambda row: spans[row]


def lenient_cast(cells: pa.Array, kind: pa.DataType, bad: Mask | None = None) -> tuple[pa.Array, Mask]:
    """Cast cells, with null where a cell cannot be; return the values and a mask of such cells."""
    bad = np.zeros(len(cells), np.bool_) if bad is None else bad.copy()
    parts: list[pa.Array] = []

    def cast(start: int, stop: int) -> None:
        piece = cells.slice(start, stop - start)
        try:
            parts.append(piece.dictionary_encode() if kind == _TEXT else piece.cast(kind))
        except pa.ArrowInvalid:
            if stop - start == 1:
                bad[start] = True
                parts.append(pa.nulls(1, kind))
            else:
                middle = (start + stop) // 2
                cast(start, middle)
                cast(middle, stop)

    if len(cells):
        cast(0, len(cells))
    return (_flat(pa.chunked_array(parts, kind)), bad)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    flat = column.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        return flat.chunk(0) if flat.num_chunks else pa.array([], flat.type)
    return flat


def _null_blank(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.utf8()), text)


_MONTHS = dict(
    zip(
        ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
        range(1, 13),
        strict=True,
    )
)


def _day(text: str) -> int:
    """Read a day as ns since the epoch; `NO_TIME` if it is none."""
    text = text.strip()
    try:
        if match := re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})", text):
            text = f"{match[3]}-{_MONTHS[match[2].upper()]:02}-{int(match[1]):02}"
        elif re.fullmatch(r"\d{8}", text):
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
        return int(np.datetime64(text, "D").astype("datetime64[ns]").astype(np.int64))
    except (ValueError, KeyError):
        return NO_TIME
