"""The tick model: a block of consecutive trades of one symbol, as columns.

A block is what travels through Kafka, what kernels compute on and what the store keeps. Live feeds make small
blocks and replays big ones; nothing downstream can tell the difference but by size.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

#: Columns every block has, in this order. `timestamp` is ns since the epoch, UTC; `session` is 0 in the
#: exchange's regular hours, 1 before and 2 after them.
TICK_SCHEMA = pa.schema(
    [
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("Price", pa.float64(), nullable=False),
        pa.field("Volume", pa.float64(), nullable=False),
        pa.field("Seq. No.", pa.int64()),
        pa.field("session", pa.uint8(), nullable=False),
        pa.field("Qualifiers", pa.dictionary(pa.int32(), pa.utf8())),
    ]
)

_NO_TEXTS = pa.array([], pa.utf8())

#: A watermark with this time says: the sequence ends here, no tick follows.
END_OF_TIME = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class TickBlock:
    """Consecutive ticks of one symbol.

    Parameters
    ----------
    symbol
        The instrument, as its source names it.
    first_index
        Position of the first tick within its (origin, symbol) sequence, from 0; sequences have no holes.
    batch
        Columns of `TICK_SCHEMA`, then whatever else the adapter keeps.
    origin
        What the sequence belongs to where a topic carries several: the digest of a cached file; empty on streams.
    """

    symbol: str
    first_index: int
    batch: pa.RecordBatch
    origin: str = ""

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def next_index(self) -> int:
        """Index that the tick after this block has."""
        return self.first_index + len(self)

    @property
    def timestamp(self) -> Int64Array:
        """Times of the trades, ns since the epoch, UTC."""
        return self._numpy("timestamp")

    @property
    def price(self) -> Float64Array:
        """Prices of the trades."""
        return self._numpy("Price")

    @property
    def volume(self) -> Float64Array:
        """Sizes of the trades."""
        return self._numpy("Volume")

    def _numpy(self, name: str) -> Any:
        return self.batch.column(name).to_numpy(zero_copy_only=True)

    def slice(self, start: int, stop: int | None = None) -> TickBlock:
        """Return ticks `start`…`stop` of this block (positions in the block) as a block, without copying."""
        length = len(self)
        start = min(max(start, 0), length)
        stop = length if stop is None else min(max(stop, start), length)
        if stop - start == length:
            return self
        return TickBlock(self.symbol, self.first_index + start, self.batch.slice(start, stop - start), self.origin)

    def packet(self, position: int, index: int | None = None) -> dict[str, Any]:
        """Return one tick as the dict that users know, under the index given or its own."""
        row = self.batch.slice(position, 1).to_pylist()[0]
        known = {name: row.pop(name) for name in TICK_SCHEMA.names}
        return {
            "index": self.first_index + position if index is None else index,
            "Price": known["Price"],
            "Volume": _whole(known["Volume"]),
            "Seq. No.": known["Seq. No."],
            "session": known["session"],
            "Qualifiers": known["Qualifiers"],
            "timestamp": known["timestamp"],
            "symbol": self.symbol,
            "Date-Time": iso_ms(known["timestamp"]),
            **row,
        }


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole in what a feed delivered of one symbol: windows that reach over it are not of the market as it was.

    Parameters
    ----------
    reason
        `sequence` (the provider's numbers jumped), `reconnect`, `restart`, `seek`, `loop`, or the adapter's own word.
    missed
        How many ticks are missing; None: nobody can tell.
    since, until
        Time of the last tick before the hole and when the feed went on (ns since the epoch, UTC); None: unknown.
    """

    reason: str
    missed: int | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """A statement of the source: of this symbol, no tick before `timestamp` (ns) follows.

    It closes every bar that ends at or before that time, so that a quiet market has bars and a replay of the topic
    repeats what live did. `END_OF_TIME` ends the sequence. One with a `gap` marks a hole in the feed before the tick
    that follows; it closes nothing that was not closed, so who knows nothing of gaps may take it as a watermark.
    """

    symbol: str
    timestamp: int
    next_index: int
    origin: str = ""
    gap: Gap | None = None

    @property
    def ends(self) -> bool:
        """Whether the sequence is over."""
        return self.timestamp == END_OF_TIME


def tick_block(
    symbol: str,
    first_index: int,
    timestamp: npt.ArrayLike,
    price: npt.ArrayLike,
    volume: npt.ArrayLike,
    *,
    seq_no: Any = None,
    session: Any = None,
    qualifiers: Any = None,
    origin: str = "",
    extras: dict[str, Any] | None = None,
) -> TickBlock:
    """Build a block from columns of equal length; columns left out are null (session: 0)."""
    stamps = np.ascontiguousarray(timestamp, dtype=np.int64)
    count = len(stamps)
    columns = [
        pa.array(stamps),
        pa.array(np.ascontiguousarray(price, dtype=np.float64)),
        pa.array(np.ascontiguousarray(volume, dtype=np.float64)),
        pa.nulls(count, pa.int64()) if seq_no is None else _array(seq_no).cast(pa.int64()),
        pa.array(np.zeros(count, np.uint8)) if session is None else _array(session).cast(pa.uint8()),
        _texts(qualifiers, count),
    ]
    schema = TICK_SCHEMA
    for name, values in (extras or {}).items():
        columns.append(_array(values))
        schema = schema.append(pa.field(name, columns[-1].type))
    return TickBlock(symbol, first_index, pa.RecordBatch.from_arrays(columns, schema=schema), origin)


def _texts(values: Any, count: int) -> pa.DictionaryArray:
    if values is None:
        return pa.DictionaryArray.from_arrays(pa.nulls(count, pa.int32()), _NO_TEXTS)
    texts = _array(values)
    if not pa.types.is_dictionary(texts.type):
        texts = texts.cast(pa.utf8()).dictionary_encode()
    return texts.cast(TICK_SCHEMA.field("Qualifiers").type)


def _array(values: Any) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    return values if isinstance(values, pa.Array) else pa.array(values)


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def iso(timestamp: int) -> str:
    """Write ns since the epoch as ISO 8601 UTC with as many digits as it needs (none, 3, 6 or 9)."""
    seconds, nanos = divmod(int(timestamp), 1_000_000_000)
    text = _iso_seconds(seconds)
    if nanos == 0:
        return text + "Z"
    digits = f"{nanos:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"


def iso_ms(timestamp: int) -> str:
    """Write ns since the epoch as ISO 8601 UTC, cut to milliseconds."""
    seconds, nanos = divmod(int(timestamp), 1_000_000_000)
    return f"{_iso_seconds(seconds)}.{nanos // 1_000_000:03d}Z"


def _iso_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]  # half the time of strftime


def from_iso(text: str) -> int:
    """Read ISO 8601 (with zone; up to 9 decimals) as ns since the epoch.

    Raises
    ------
    ValueError
        If the text is not ISO 8601 or has no zone.
    """
    if not (text.endswith("Z") or "+" in text[10:] or "-" in text[10:]):
        raise ValueError(f"{text!r} has no time zone: end it with Z or +hh:mm")
    return int(np.datetime64(_utc(text), "ns").astype(np.int64))


def _utc(text: str) -> str:
    if text.endswith("Z"):
        return text[:-1]
    head, sign, zone = text[:-6], text[-6], text[-5:]
    hours, minutes = zone.split(":")
    shift = np.timedelta64((int(hours) * 60 + int(minutes)) * (1 if sign == "+" else -1), "m")
    return str(np.datetime64(head, "ns") - shift)
