"""Whether a moment lies in an exchange's regular hours, by its calendar (holidays, half days, summer time)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lit.streams.errors import UserError

REGULAR, BEFORE, AFTER = 0, 1, 2
_FIRST_DAY = "1996-01-02"
#: Code of a moment by its place among the edges open, close, midnight, open, close, midnight, …
_CODES = np.array([BEFORE, REGULAR, AFTER], np.uint8)


def session_codes(exchange: str, timestamps: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return 0 in the regular hours [open, close), 2 from the close to local midnight, else 1.

    Parameters
    ----------
    exchange
        A calendar of `exchange_calendars`, as `XNYS`. Lunch breaks count as regular hours.
    timestamps
        int64 ns since the epoch, UTC.
    """
    if not len(timestamps):
        return np.zeros(0, np.uint8)
    edges = _edges(exchange)
    low, high = np.searchsorted(edges, [timestamps.min(), timestamps.max()], side="right")
    if low == high:
        return np.full(len(timestamps), _CODES[low % 3], np.uint8)
    near = np.searchsorted(edges[low:high], timestamps, side="right") + low
    return _CODES[near % 3]


def sessions_by_suffix(
    symbols: pa.DictionaryArray, timestamps: npt.NDArray[np.int64], exchanges: Mapping[str, str], default: str
) -> npt.NDArray[np.uint8]:
    """Return `session_codes` of each row by the exchange that its symbol's suffix (after the last dot) stands for."""
    names = [
        exchanges.get(str(symbol).rpartition(".")[2], default) if "." in str(symbol) else default
        for symbol in symbols.dictionary.to_pylist()
    ]
    if len(set(names)) <= 1:
        return session_codes(names[0] if names else default, timestamps)
    owners = np.array([*names, default])[symbols.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)]
    codes = np.empty(len(timestamps), np.uint8)
    for name in set(names) | {default}:
        rows = owners == name
        codes[rows] = session_codes(name, timestamps[rows])
    return codes


@cache
def _edges(exchange: str) -> npt.NDArray[np.int64]:
    import exchange_calendars
    import pandas as pd

    try:
        calendar = exchange_calendars.get_calendar(exchange, start=_FIRST_DAY)
    except ValueError:  # this calendar begins later
        calendar = exchange_calendars.get_calendar(exchange)
    except exchange_calendars.errors.InvalidCalendarName as error:
        names = ", ".join(exchange_calendars.get_calendar_names(include_aliases=False))
        raise UserError(f"exchange {exchange!r} has no calendar; use one of {names}.") from error
    midnights = (calendar.schedule.index + pd.Timedelta(days=1)).tz_localize(calendar.tz).tz_convert("UTC")
    opens, closes, ends = (
        pd.DatetimeIndex(times).tz_localize(None).as_unit("ns").asi8
        for times in (calendar.opens.dt.tz_convert(None), calendar.closes.dt.tz_convert(None), midnights)
    )
    ends = np.minimum(ends, np.append(opens[1:], np.iinfo(np.int64).max))  # Chicago reopens before midnight
    edges: npt.NDArray[np.int64] = np.stack([opens, closes, np.maximum(ends, closes)], axis=1).ravel()
    return edges
