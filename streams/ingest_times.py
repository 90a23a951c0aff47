"""Texts and numbers as moments: ISO 8601, a count since 1970, or a pattern; in UTC or on some zone's wall clock.

Each function returns int64 ns since the epoch, UTC (`NO_TIME` where there is none) and where a value is no such time.
"""

from __future__ import annotations

import zoneinfo
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lit.streams.errors import UserError

Mask = npt.NDArray[np.bool_]
Times = tuple[npt.NDArray[np.int64], Mask]
NO_TIME = np.iinfo(np.int64).min
#: Unit → ns in it, and how many decimals it may have (a ns is the smallest).
UNITS = {"s": (1_000_000_000, 9), "ms": (1_000_000, 6), "us": (1_000, 3), "ns": (1, 0)}
_NS, _NS_UTC = pa.timestamp("ns"), pa.timestamp("ns", "UTC")


def moments(column: pa.Array, form: str, unit: str, zone: str) -> Times:
    """Read a column of times.

    Parameters
    ----------
    column
        Text, whole numbers, numbers, dates or timestamps.
    form
        Of text: `iso`, `epoch`, or a pattern of `strptime` such as `%d/%m/%Y %H:%M:%S.%f`. Numbers are `epoch`.
    unit
        Of `epoch`: s, ms, us or ns.
    zone
        Whose wall clock times without a zone are of, such as `America/New_York`.

    Raises
    ------
    UserError
        If unit, zone or pattern is none.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return moments(column.cast(kind.value_type), form, unit, zone)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        naive = not pa.types.is_timestamp(kind) or kind.tz is None
        exact, bad = lenient_cast(column, _NS if naive else _NS_UTC)
        return _local(exact, zone, bad) if naive else (_ns(exact), bad)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _epoch_numbers(column, unit)
    if form == "epoch":
        return _epoch_texts(column, unit)
    return _iso(column, zone) if form == "iso" else _pattern(column, form, zone)


def since_midnight(column: pa.Array, day: str, unit: str, zone: str) -> Times:
    """Read counts of units since a day began, by the wall clock of a zone."""
    counts, bad = moments(column, "epoch", unit, zone)
    begin = np.datetime64(day, "D").astype("datetime64[ns]").astype(np.int64)
    empty = counts == NO_TIME
    naive = pa.array(np.where(empty, 0, counts) + begin, pa.int64(), mask=empty).cast(_NS)
    return _local(naive, zone, bad)


def _iso(texts: pa.Array, zone: str) -> Times:
    trimmed = pc.utf8_trim(texts, " \t")
    exact, bad = lenient_cast(trimmed, _NS_UTC)
    if not bad.any():
        return _ns(exact), bad
    stamps = _ns(exact)
    rest, worse = lenient_cast(trimmed.filter(pa.array(bad)), _NS)
    stamps[bad], bad[bad] = _local(rest, zone, worse)
    return stamps, bad


def _pattern(texts: pa.Array, pattern: str, zone: str) -> Times:
    import pandas as pd

    zoned = "%z" in pattern or "%Z" in pattern
    series = pd.Series(texts.to_pandas(), dtype=object).str.strip()
    try:
        found = pd.to_datetime(series, format=pattern, errors="coerce", utc=zoned)
    except (ValueError, TypeError) as error:
        raise UserError(f"time format {pattern!r} is not usable ({error}); as in %d/%m/%Y %H:%M:%S.%f") from error
    stamps = found.dt.as_unit("ns")
    bad = np.asarray(stamps.isna() & series.notna())
    array = pa.array(stamps.to_numpy("datetime64[ns]"), from_pandas=True)  # NaT reads as null
    return (_ns(array), bad) if zoned else _local(array, zone, bad)


def _epoch_texts(texts: pa.Array, unit: str) -> Times:
    _, digits = _unit(unit)
    exact, bad = lenient_cast(pc.utf8_trim(texts, " \t"), pa.decimal128(19, digits))
    if not len(exact):
        return np.zeros(0, np.int64), bad
    # A decimal of 16 bytes holds its digits as one integer: with this many decimals, the count of ns.
    values = np.frombuffer(exact.buffers()[1], np.int64)[::2][exact.offset : exact.offset + len(exact)]
    return np.where(_null(exact), NO_TIME, values), bad


def _epoch_numbers(numbers: pa.Array, unit: str) -> Times:
    factor, _ = _unit(unit)
    empty = _null(numbers)
    if pa.types.is_integer(numbers.type):
        wide, bad = lenient_cast(numbers, pa.int64())
        values = wide.fill_null(0).to_numpy(zero_copy_only=False)
        bad |= np.abs(values) > np.iinfo(np.int64).max // factor
        return np.where(empty | bad, NO_TIME, np.where(bad, 0, values) * factor), bad
    values = numbers.cast(pa.float64()).fill_null(0).to_numpy(zero_copy_only=False) * float(factor)
    bad = ~(np.abs(values) < np.iinfo(np.int64).max)
    return np.where(empty | bad, NO_TIME, np.rint(np.where(bad, 0, values)).astype(np.int64)), bad


def _local(times: pa.Array, zone: str, bad: Mask) -> Times:
    """Place wall clock times in a zone; one that came twice or never (the clocks changed) is none."""
    if zone == "UTC":
        return _ns(times), bad
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(f"time zone {zone!r} does not exist; use a name such as UTC or America/New_York") from None
    first, last = (
        _ns(pc.assume_timezone(times, zone, ambiguous=choice, nonexistent=choice)) for choice in ("earliest", "latest")
    )
    unsure = first != last
    return np.where(unsure, NO_TIME, first), bad | unsure


def _unit(unit: str) -> tuple[int, int]:
    if unit not in UNITS:
        raise UserError(f"time unit {unit!r} is unknown; use one of {', '.join(UNITS)}")
    return UNITS[unit]


def _ns(times: pa.Array) -> npt.NDArray[np.int64]:
    return np.array(times.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False))


def _null(column: pa.Array) -> Mask:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False))


def lenient_cast(cells: pa.Array, kind: pa.DataType, bad: Mask | None = None) -> tuple[pa.Array, Mask]:
    """Cast cells, with null where a cell cannot be; return the values and a mask of such cells."""
    bad = np.zeros(len(cells), np.bool_) if bad is None else bad.copy()
    parts: list[pa.Array] = []

    def cast(start: int, stop: int) -> None:
        piece = cells.slice(start, stop - start)
        try:
            parts.append(_cast(piece, kind))
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
    return flat(pa.chunked_array(parts, kind)), bad


def _cast(cells: Any, kind: pa.DataType) -> pa.Array:
    return cells.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else cells.cast(kind)


def flat(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        return joined.chunk(0) if joined.num_chunks else pa.array([], joined.type)
    return joined
