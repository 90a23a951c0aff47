"""Bar intervals: `1minute`, `500tick`, `10000dollar`; what closes a bar, and where its edges are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from lit.streams.errors import UserError
from lit.streams.tick import Int64Array

_NS = 1_000_000_000
#: Units of fixed length, in ns.
FIXED_UNITS = {"second": _NS, "minute": 60 * _NS, "hour": 3600 * _NS}
#: Units that close a bar by what was traded, not by time.
COUNT_UNITS = ("tick", "volume", "dollar")
UNITS = (*FIXED_UNITS, "day", *COUNT_UNITS)
_SHORT = {"sec": "second", "min": "minute"}
#: A hundred years, and counts that are exact in float64: edges and sums beyond would overflow.
_YEARS = 36_525 * 86_400 * _NS
_LONGEST = {
    **{unit: _YEARS // width for unit, width in FIXED_UNITS.items()},
    "day": 36_525,
    **dict.fromkeys(COUNT_UNITS, 2**53),
}


def canonical_unit(unit: str) -> str:
    """Return the unit's full name; `sec`, `min` and plurals are accepted.

    Raises
    ------
    UserError
        If it is no unit.
    """
    name = str(unit).strip().lower()
    name = name if name in UNITS or name in _SHORT else name.removesuffix("s")
    name = _SHORT.get(name, name)
    if name not in UNITS:
        raise UserError(f"unit {unit!r} is unknown: use one of {', '.join(UNITS)}")
    return name


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """`size` units a bar."""

    unit: str
    size: int

    @classmethod
    def of(cls, unit: str, size: float) -> Interval:
        """Return the interval of `size` `unit`s, checked."""
        if int(size) != size or size < 1:
            raise UserError(f"bar size {size!r} is not a whole number of at least 1")
        name = canonical_unit(unit)
        if size > _LONGEST[name]:
            raise UserError(f"bar size {size!r} is too large: at most {_LONGEST[name]:,} of unit {name}")
        return cls(name, int(size))

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read `1minute`, `5min`, `500tick`…"""
        found = re.fullmatch(r"(\d+)\s*([A-Za-z]+)", text.strip())
        if not found:
            raise UserError(f"interval {text!r} is not a number and a unit, such as 1minute or 500tick")
        return cls.of(found[2], int(found[1]))

    def __str__(self) -> str:
        return f"{self.size}{self.unit}"

    @property
    def by_time(self) -> bool:
        """Whether time closes its bars (else what was traded does)."""
        return self.unit not in COUNT_UNITS


class TimeGrid:
    """Numbers the cells that a time interval divides time into, and knows their edges.

    Second, minute and hour cells are aligned to the UTC epoch. A day is the exchange's calendar day: its edges are
    the midnights of the exchange's time zone, so it has 23 or 25 hours when clocks change.
    """

    def __init__(self, interval: Interval, zone: str = "America/New_York") -> None:
        self._size = interval.size
        self._width = FIXED_UNITS.get(interval.unit, 0) * interval.size
        self._edges = None if self._width else midnights(zone)

    def cells(self, timestamps: Int64Array) -> Int64Array:
        """Return the cell number of each time (ns)."""
        if self._edges is None:
            return timestamps // self._width
        return (np.searchsorted(self._edges, timestamps, side="right") - 1) // self._size

    def start(self, cells: Int64Array) -> Int64Array:
        """Return where cells begin, ns."""
        if self._edges is None:
            return cells * self._width
        return self._edges[np.clip(cells * self._size, 0, len(self._edges) - 1)]

    def end(self, cells: Int64Array) -> Int64Array:
        """Return where cells end (the start of the next), ns."""
        return self.start(cells + 1)


@lru_cache(maxsize=16)
def midnights(zone: str) -> Int64Array:
    """Return the midnights of a time zone from 1970 to 2100 as ns since the epoch, ascending."""
    tz, day = ZoneInfo(zone), date(1970, 1, 1)
    stamps = []
    while day.year < 2100:
        local = datetime(day.year, day.month, day.day, tzinfo=tz)
        stamps.append(int(local.astimezone(UTC).timestamp()) * _NS)
        day += timedelta(days=1)
    return np.array(stamps, np.int64)
