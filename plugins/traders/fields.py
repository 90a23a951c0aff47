"""Fields of a provider's messages as those of a tick: which is which is said by paths, as in `data.trade.p`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lit.streams.errors import UserError
from lit.streams.tick import from_iso

#: What a timestamp may be counted in → ns; `iso` is a text.
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_WHOLE = ("Seq. No.", "sequence", "session")
_NEEDED = ("symbol", "timestamp", "Price", "Volume")
_KNOWN = (*_NEEDED, "Qualifiers", "channel", *_WHOLE)


def lookup(message: Any, path: str) -> Any:
    """Return what a dotted path leads to in nested objects and lists; None where it leads nowhere."""
    for part in path.split(".") if path else ():
        if isinstance(message, Mapping):
            message = message.get(part)
        elif isinstance(message, list) and part.lstrip("-").isdigit() and -len(message) <= int(part) < len(message):
            message = message[int(part)]
        else:
            return None
    return message


class Fields:
    """Turns messages into ticks.

    Parameters
    ----------
    mapping
        Field of a tick → path in the message; one that begins with `/` starts at the whole message where `ticks` leads
        to parts of it; one in quotes is taken as it stands.
    unit
        `ns`, `us`, `ms`, `s` or `iso`.
    ticks
        Path to the list of ticks in a message; empty: the message is one tick.
    only
        Path → text that must be there; other messages are none of ours.
    columns
        The adapter's own columns.

    Raises
    ------
    UserError
        If a field that every tick needs has no path, or one is no field of a tick.
    """

    def __init__(
        self,
        mapping: Mapping[str, str],
        unit: str,
        ticks: str = "",
        only: Mapping[str, str] | None = None,
        columns: Iterable[str] = (),
    ) -> None:
        if missing := [name for name in _NEEDED if name not in mapping]:
            raise UserError(f"fields has no path for {', '.join(missing)}: a tick needs {', '.join(_NEEDED)}")
        if unknown := [name for name in mapping if name not in (known := (*_KNOWN, *columns))]:
            raise UserError(
                f"fields has {', '.join(map(repr, unknown))}, which no tick has: it has {', '.join(known)}; "
                "a column of your own is named in the adapter's COLUMNS first"
            )
        self._mapping, self._unit, self._ticks, self._only = dict(mapping), unit, ticks, dict(only or {})

    def ticks(self, message: Any) -> Iterator[dict[str, Any]]:
        """Yield the ticks of a message.

        Raises
        ------
        ValueError
            If a value of a message that should hold ticks cannot be read.
        """
        found = lookup(message, self._ticks)
        if found is None:
            return
        for part in found if isinstance(found, list) else [found]:
            if all(str(self._value(part, message, path)) == text for path, text in self._only.items()):
                yield {name: self._field(name, part, message, path) for name, path in self._mapping.items()}

    def _value(self, part: Any, message: Any, path: str) -> Any:
        if len(path) > 1 and path[0] == path[-1] == "'":
            return path[1:-1]
        if path.startswith("@"):  # what the transport says of the message
            return lookup(message, path)
        return lookup(message, path[1:]) if path.startswith("/") else lookup(part, path)

    def _field(self, name: str, part: Any, message: Any, path: str) -> Any:
        value = self._value(part, message, path)
        if value is None:
            return None
        if name == "timestamp":
            return self._time(value)
        if name in ("Price", "Volume"):
            return float(value)
        if name in _WHOLE:
            return int(value)
        return str(value) if name in ("symbol", "Qualifiers", "channel") else value

    def _time(self, value: Any) -> int:
        if self._unit == "iso":
            return from_iso(str(value))
        if isinstance(value, str):  # digits, not a float: 17 of them would not fit
            whole, _, rest = value.partition(".")
            scale = UNITS[self._unit]
            return int(whole) * scale + int(int((rest + "0" * 9)[:9]) * scale // 1_000_000_000)
        if isinstance(value, float) and not value.is_integer():
            return round(value * 1e6) * UNITS[self._unit] // 1_000_000
        return int(value) * UNITS[self._unit]
