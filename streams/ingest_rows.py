"""Rows of a file as typed columns, judged by an adapter: one bad cell refuses its row, never the file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.ingest_times import NO_TIME, Mask, lenient_cast, moments, since_midnight

_TEXT = pa.dictionary(pa.int32(), pa.utf8())
_NS = pa.timestamp("ns", "UTC")
_REFUSED, _SKIPPED, _ASIDE = "refused", "skipped", "set aside"
#: Kind of a column → how it is read.
TYPES = {
    "text": _TEXT,
    "number": pa.float64(),
    "integer": pa.int64(),
    "instant": _NS,
    "clock": pa.utf8(),
    "time": pa.utf8(),
}


class Rows:
    """Rows of a file as columns, for an adapter's `read`; masks say which rows are no ticks, and why.

    A column that the file lacks reads as blank in every row. The first reason given for a row holds, and a row that
    is skipped is never counted as refused.

    Parameters
    ----------
    arrays
        The columns that the adapter names and the file has.
    kinds
        Column → kind, all that the adapter names.
    length
        Number of rows, without the broken ones.
    name
        What the rows come from: the file's name, or that of an archive's only member.
    texts
        Returns (line number, the row's text) of rows by place.
    broken
        (place among all rows, reason) of rows with a wrong number of cells; they are not among `arrays`.
    bad
        Rows with an unusable cell, and why.
    metadata
        What the adapter's `batches` say of the file.
    """

    def __init__(
        self,
        arrays: Mapping[str, pa.Array],
        kinds: Mapping[str, str],
        length: int,
        name: str,
        texts: Callable[[Sequence[int]], list[tuple[int, str]]],
        broken: Sequence[tuple[int, str]] = (),
        bad: Sequence[tuple[Mask, str]] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.metadata = metadata or {}
        self._arrays = dict(arrays)
        self._kinds = kinds
        self._length = length
        self._texts = texts
        self._broken = dict(broken)
        self._bad = list(bad)
        self._reasons: list[tuple[str, str]] = []  # text, verdict
        self._verdict = np.full(length, -1, np.int16)

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
            self._arrays[name] = pa.nulls(self._length, TYPES[self._kinds[name]])
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
        possible = answers if column.null_count else answers[:-1]
        if len(possible) and (possible == possible[0]).all():
            return np.full(self._length, possible[0])
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

    def times(
        self,
        name: str,
        date: str | None = None,
        *,
        form: str = "iso",
        unit: str = "ns",
        zone: str = "UTC",
        midnight: str | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return times as int64 ns since the epoch, UTC; rows without a readable one are refused.

        Parameters
        ----------
        name
            A `time` column.
        date
            A `time` column of the days, where they stand apart: date, blank and time are read as one text.
        form, unit, zone
            See `lit.streams.ingest_times.moments`. A wall clock time that came twice or never is refused.
        midnight
            A day as `2013-10-07`: the column counts `unit`s since it began, by the wall clock of `zone`.
        """
        column = self[name]
        self.reject(self.blank(name), f"{name} is missing")
        if date is not None:
            self.reject(self.blank(date), f"{date} is missing")
            column = pc.binary_join_element_wise(self[date].cast(pa.utf8()), column.cast(pa.utf8()), " ")
        if midnight is not None:
            stamps, bad = since_midnight(column, midnight, unit, zone)
        else:
            stamps, bad = moments(column, form, unit, zone)
        self.reject(bad, f"{name} is not a time as {form if form != 'epoch' else 'count of ' + unit}")
        return stamps

    def skip(self, mask: Mask, reason: str) -> None:
        """Pass over rows that are no ticks by nature, counted under `reason`."""
        self._judge(mask, reason, _SKIPPED)

    def set_aside(self, mask: Mask, reason: str) -> None:
        """Pass over rows that are no ticks but worth keeping: counted as skipped, and kept beside the refused rows."""
        self._judge(mask, reason, _ASIDE)

    def reject(self, mask: Mask, reason: str) -> None:
        """Refuse rows that should be ticks and are not usable: they go to quarantine."""
        self._judge(mask, reason, _REFUSED)

    def _judge(self, mask: Mask, reason: str, verdict: str) -> None:
        if not mask.any():
            return
        if verdict == _REFUSED:
            self._judge_bad_cells()
        fresh = mask & (self._verdict < 0)
        if fresh.any():
            self._verdict[fresh] = len(self._reasons)
            self._reasons.append((reason, verdict))

    def _judge_bad_cells(self) -> None:
        pending, self._bad = self._bad, []
        for mask, reason in pending:
            self._judge(mask, reason, _REFUSED)

    def kept(self) -> Mask:
        """Return which rows are ticks, after all that was said."""
        self._judge_bad_cells()
        return self._verdict < 0

    def skipped(self) -> dict[str, int]:
        """Return how many rows were passed over, by reason."""
        found: dict[str, int] = {}
        for code, (reason, verdict) in enumerate(self._reasons):
            if verdict != _REFUSED:
                found[reason] = found.get(reason, 0) + int((self._verdict == code).sum())
        return found

    def rejects(self) -> list[tuple[int, str, str]]:
        """Return refused rows as (line number, reason, the row's text), in the file's order."""
        return self._told(_REFUSED, self._broken)

    def aside(self) -> list[tuple[int, str, str]]:
        """Return rows that were set aside, like `rejects`."""
        return self._told(_ASIDE, {})

    def _told(self, wanted: str, more: Mapping[int, str]) -> list[tuple[int, str, str]]:
        codes = [code for code, (_, verdict) in enumerate(self._reasons) if verdict == wanted]
        rows = np.flatnonzero(np.isin(self._verdict, codes)) if codes else np.zeros(0, np.int64)
        if not len(rows) and not more:
            return []
        broken = np.fromiter(self._broken, np.int64, len(self._broken))
        places = np.setdiff1d(np.arange(self.total), broken)
        reasons = {int(places[row]): self._reasons[self._verdict[row]][0] for row in rows} | dict(more)
        order = sorted(reasons)
        return [(line, reasons[place], text) for place, (line, text) in zip(order, self._texts(order), strict=True)]


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
