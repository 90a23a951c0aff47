"""From what a stream adapter yields to blocks of the tick topic: checked, without repeats, numbered without holes.

Pure but for nothing: no Kafka, no clock, no file. What cannot be taken is returned with its reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lit.streams.sequence import Numbering, Sequence, SequenceState, Verdict, ranges
from lit.streams.sessions import session_codes
from lit.streams.tick import TickBlock, tick_block

#: Ticks in a block at the most.
BLOCK_TICKS = 8192
#: A tick may not be further in the future than this, else one bad clock would make all that follows late.
AHEAD_NS = 60_000_000_000
#: A number that was seen before is no repeat if its tick is newer than all by this much: what comes again is old.
RENUMBERED_NS = 60_000_000_000
RENUMBERED = "number was seen before, but the tick is new: if the provider counts anew, map a field channel"
_ARROW = {"text": pa.utf8(), "number": pa.float64(), "integer": pa.int64()}
_EARLIEST, _LATEST = -(2**62), 2**62


@dataclass(frozen=True, slots=True)
class Columns:
    """Many consecutive ticks of one symbol at once, as a feed of files has them.

    Parameters
    ----------
    batch
        Columns of `TICK_SCHEMA`, then others.
    sequence
        Number of the first tick; the others follow without holes.
    """

    symbol: str
    batch: pa.RecordBatch
    sequence: int
    channel: str = ""


class SymbolState(msgspec.Struct):
    """Where a symbol's sequence is: what a restarted stream goes on from.

    `last` is the highest timestamp, `floor` the highest watermark (ns), `told` how many gaps were told; `sequences` are
    by channel.
    """

    next_index: int = 0
    last: int = 0
    floor: int = 0
    told: int = 0
    ended: bool = False
    sequences: dict[str, SequenceState] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A block on its way, and its `sequence` header: numbers by channel, as runs (`increasing`: the highest)."""

    block: TickBlock
    sequence: dict[str, list[list[int]]]


@dataclass(slots=True)
class _Pending:
    """Ticks of one symbol that are not in a block yet."""

    timestamp: list[int] = field(default_factory=list)
    price: list[float] = field(default_factory=list)
    volume: list[float] = field(default_factory=list)
    seq_no: list[int | None] = field(default_factory=list)
    session: list[int] = field(default_factory=list)
    qualifiers: list[str | None] = field(default_factory=list)
    extras: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)


class Refused(ValueError):  # noqa: N818 - a tick that is refused, not an error of the program
    """A tick that goes into quarantine; the text is the reason."""


class Blocks:
    """Takes ticks, gives blocks.

    Parameters
    ----------
    states
        Symbol → where it is; kept up to date.
    numbering, columns, exchange, negative_prices
        As the adapter says (`lit.streams.stream_adapters.StreamAdapter`).
    """

    def __init__(
        self,
        states: dict[str, SymbolState],
        numbering: Numbering = "none",
        columns: tuple[tuple[str, str], ...] = (),
        exchange: str | None = None,
        negative_prices: bool = False,
    ) -> None:
        self.states = states
        self.counts: Counter[str] = Counter()
        self.waiting: dict[tuple[str, str], Sequence] = {}
        self._numbering: Numbering = numbering
        self._columns = columns
        self._exchange = exchange
        self._lowest = -math.inf if negative_prices else 0.0
        self._pending: dict[str, _Pending] = {}
        self._sequences: dict[tuple[str, str], Sequence] = {}
        for symbol, state in states.items():
            for channel in state.sequences:
                if (watched := self.sequence(symbol, channel)).waiting:
                    self.waiting[symbol, channel] = watched

    def sequence(self, symbol: str, channel: str = "") -> Sequence:
        """Return what watches the numbers of a symbol."""
        key = (symbol, channel)
        if key not in self._sequences:
            state = self.states.setdefault(symbol, SymbolState())
            numbers = state.sequences.setdefault(channel, SequenceState())
            self._sequences[key] = Sequence(self._numbering, numbers)
        return self._sequences[key]

    def add(self, tick: Mapping[str, Any], now: float, latest: int = _LATEST) -> int | None:
        """Take one tick; returns how many of its symbol are pending, or None for a repeat.

        Parameters
        ----------
        now
            Monotonic time, s.
        latest
            A timestamp (ns) beyond this is refused.

        Raises
        ------
        Refused
            If it cannot be taken.
        """
        symbol, stamp, price, volume = _checked(tick, self._lowest, latest)
        extras = tuple(_extra(name, kind, tick.get(name)) for name, kind in self._columns)
        number = tick.get("sequence", tick.get("Seq. No."))
        state = self.states.setdefault(symbol, SymbolState())
        if state.ended:
            raise Refused("its sequence has ended")
        pending = self._pending.setdefault(symbol, _Pending())
        if self._numbering != "none" and number is not None:
            channel = str(tick.get("channel", ""))
            watched = self.sequence(symbol, channel)
            verdict = watched.take(int(number), now, state.last)
            if watched.waiting:
                self.waiting[symbol, channel] = watched
            if verdict is Verdict.REPEAT:
                if stamp > state.last + RENUMBERED_NS:
                    raise Refused(RENUMBERED)
                self.counts["repeats"] += 1
                return None
            pending.numbers.setdefault(channel, []).append(int(number))
        if stamp < state.last:
            self.counts["out_of_order"] += 1
        else:
            state.last = stamp
        pending.timestamp.append(stamp)
        pending.price.append(price)
        pending.volume.append(volume)
        pending.seq_no.append(tick.get("Seq. No."))
        pending.session.append(int(tick.get("session", 0)))
        pending.qualifiers.append(tick.get("Qualifiers"))
        pending.extras.append(extras)
        self.counts["ticks"] += 1
        return len(pending.timestamp)

    def add_columns(self, columns: Columns) -> Iterator[Outgoing]:
        """Take many ticks of one symbol; yields blocks at once, those that are pending before them."""
        yield from self.flush(columns.symbol)
        batch, first = columns.batch, columns.sequence
        state = self.states.setdefault(columns.symbol, SymbolState())
        repeats = self.sequence(columns.symbol, columns.channel).skip_run(first, first + batch.num_rows - 1)
        if repeats is None:
            raise Refused(f"{columns.symbol}: ticks before number {first} of channel {columns.channel!r} were left out")
        self.counts["repeats"] += repeats
        for start in range(repeats, batch.num_rows, BLOCK_TICKS):
            part = batch.slice(start, BLOCK_TICKS)
            block = TickBlock(columns.symbol, state.next_index, part)
            stamps = block.timestamp
            before = np.maximum.accumulate(np.concatenate([[state.last], stamps[:-1]]))
            self.counts["out_of_order"] += int((stamps < before).sum())
            self.counts["ticks"] += len(block)
            state.last = max(state.last, int(stamps.max()))
            state.next_index = block.next_index
            numbers = [[first + start, first + start + part.num_rows - 1]]
            yield Outgoing(block, {columns.channel: numbers})

    def gaps(self, before: float) -> Iterator[tuple[str, int, int]]:
        """Yield (symbol, missed, since) of holes that were noticed up to a monotonic time and nothing filled."""
        for (symbol, channel), watched in list(self.waiting.items()):
            missed, since = watched.gaps(before)
            if missed:
                yield symbol, missed, since
            if not watched.waiting:
                del self.waiting[symbol, channel]

    def flush(self, symbol: str | None = None) -> Iterator[Outgoing]:
        """Yield what is pending of a symbol, or of all, as blocks."""
        for name in [symbol] if symbol is not None else list(self._pending):
            pending = self._pending.get(name)
            if pending is None or not pending.timestamp:
                continue
            self._pending[name] = _Pending()
            state = self.states[name]
            block = self._block(name, state.next_index, pending)
            state.next_index = block.next_index
            yield Outgoing(block, {channel: self._runs(numbers) for channel, numbers in pending.numbers.items()})

    def _runs(self, numbers: list[int]) -> list[list[int]]:
        return ranges(numbers if self._numbering == "contiguous" else [max(numbers)])

    def _block(self, symbol: str, first: int, pending: _Pending) -> TickBlock:
        stamps = np.array(pending.timestamp, np.int64)
        session = np.array(pending.session, np.uint8) if self._exchange is None else None
        extras = {
            name: pa.array([row[place] for row in pending.extras], _ARROW[kind])
            for place, (name, kind) in enumerate(self._columns)
        }
        return tick_block(
            symbol,
            first,
            stamps,
            pending.price,
            pending.volume,
            seq_no=pa.array(pending.seq_no, pa.int64()),
            session=session_codes(str(self._exchange), stamps) if session is None else session,
            qualifiers=pa.array(pending.qualifiers, pa.utf8()),
            extras=extras,
        )


def _checked(tick: Mapping[str, Any], lowest: float, latest: int) -> tuple[str, int, float, float]:
    if not isinstance(tick, Mapping):
        raise Refused(f"{type(tick).__name__} instead of a tick")
    symbol, stamp = tick.get("symbol"), tick.get("timestamp")
    if not isinstance(symbol, str) or not symbol or len(symbol) > 128:
        raise Refused("symbol is missing")
    if isinstance(stamp, bool) or not isinstance(stamp, int | np.integer) or not _EARLIEST < stamp < _LATEST:
        raise Refused("timestamp is no whole number of ns")
    if stamp > latest:
        raise Refused("timestamp is in the future")
    price, volume = _finite(tick, "Price"), _finite(tick, "Volume")
    if price <= lowest:
        raise Refused("Price is not positive")
    if volume < 0:
        raise Refused("Volume is negative")
    for name in ("Seq. No.", "sequence", "session"):
        value = tick.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise Refused(f"{name} is no whole number")
    if not 0 <= tick.get("session", 0) <= 2:
        raise Refused("session is not 0, 1 or 2")
    qualifiers = tick.get("Qualifiers")
    if qualifiers is not None and not isinstance(qualifiers, str):
        raise Refused("Qualifiers is no text")
    return symbol, int(stamp), price, volume


def _finite(tick: Mapping[str, Any], name: str) -> float:
    value = tick.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise Refused(f"{name} is no number")
    return float(value)


def _extra(name: str, kind: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        return str(value) if kind == "text" else int(value) if kind == "integer" else float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{name} is no {kind}") from None
