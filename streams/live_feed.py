"""What a stream adapter's `stream(feed)` is given, and what becomes of what it yields.

Ticks become blocks as soon as the adapter has to wait for more of them, but not more often than Kafka's consumers
like: under load blocks get larger instead of more.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lit.streams.live_blocks import AHEAD_NS, BLOCK_TICKS, Blocks, Columns, Refused
from lit.streams.live_clock import MINUTE, FeedClock
from lit.streams.live_health import SHOWN_GAPS, Health, gap_view
from lit.streams.live_output import Output
from lit.streams.stream_adapters import StreamAdapter
from lit.streams.tick import Gap

log = logging.getLogger("stream")

#: Least time between two rounds of blocks, s, and what each block of a round adds to it.
ROUND_SECONDS, BLOCK_SECONDS = 0.005, 0.00025
#: A hole that nothing fills for this long (s) is a gap.
PATIENCE = 1.0
#: A look that comes later than this (s) was held up by this process or its machine.
STALL_SECONDS = 0.3
#: A stream's quarantine grows to this size; more is only counted.
QUARANTINE_BYTES = 16 * 1024 * 1024


class LiveFeed:
    """The runtime's side of the contract in `lit.plugins.traders.stream`.

    Parameters
    ----------
    adapter, parameters
        What feeds the stream, and its checked parameters.
    output
        Where blocks go.
    folder
        The team's folder.
    quarantine
        File of what cannot be taken.
    step
        Shortest time unit that bars of the stream are made of, ns.
    redact
        Takes secrets out of a text.
    """

    def __init__(
        self,
        adapter: StreamAdapter,
        parameters: dict[str, Any],
        output: Output,
        folder: Path,
        quarantine: Path,
        step: int = MINUTE,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.adapter, self.parameters, self.folder = adapter, parameters, folder
        self.health = Health()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._output, self._quarantine, self._redact = output, quarantine, redact
        state = output.state
        self._blocks = Blocks(
            state.symbols, adapter.sequence, adapter.columns, adapter.exchange, adapter.negative_prices
        )
        self._clock = FeedClock(step, int(adapter.grace * 1e9), state.behind)
        for symbol, known in state.symbols.items():
            if known.last and not known.ended:
                self._clock.resume(symbol, known.last, known.floor)
        self._known = set(state.symbols)
        self._first = True
        self._active = self._looked = time.monotonic()
        self._quiet = 0.0
        self._sleeping = 0
        self._timer: asyncio.Handle | None = None
        self._round_at = 0.0
        self.received = 0

    # --- what an adapter calls

    @property
    def position(self) -> Any:
        """What was last kept."""
        return self._output.state.position

    def connected(self) -> None:
        """Take note that ticks may come; what a lost connection may have missed is marked now."""
        self.alive()
        if self._first and self._known:
            self._lost("restart")
        elif not self._first:
            self._lost("reconnect")
        self._first = False
        if self.health.state != "live":
            self.health.state, self.health.connected_at = "live", time.time()
            self._output.tell("connected")
            log.info("connected")

    def alive(self) -> None:
        """Take note that the connection lives."""
        self._active = time.monotonic()
        self._quiet = 0.0

    def seen(self, symbol: str, channel: str = "") -> int | None:
        """Return the highest number taken of a symbol."""
        known = self._output.state.symbols.get(symbol)
        found = known.sequences.get(channel) if known else None
        return found.last if found else None

    def symbols(self) -> dict[str, int]:
        """Return symbols and the times of their last ticks."""
        return {symbol: state.last for symbol, state in self._output.state.symbols.items()}

    def gap(self, reason: str, symbol: str | None = None, missed: int | None = None, since: int | None = None) -> None:
        """Mark a gap."""
        self.flush()
        states = self._output.state.symbols
        for name in [symbol] if symbol is not None else list(states):
            known = states.get(name)
            if known is None or known.ended or not known.last:
                continue
            gap = Gap(reason, missed, known.last if since is None else since, self._market_time())
            shown = gap_view(name, self._output.send_gap(name, gap), gap)
            self.health.gaps += 1
            self.health.recent_gaps = [*self.health.recent_gaps, shown][-SHOWN_GAPS:]
            self._output.tell("gap", **msgspec.structs.asdict(shown))
            log.warning("gap in %s (%s): %s ticks missing", name, reason, "unknown" if missed is None else missed)

    def watermark(self, symbol: str, timestamp: int) -> None:
        """Close bars up to a time."""
        for item in self._blocks.flush(symbol):
            self._output.send_block(item)
        self._output.send_watermark(symbol, timestamp)

    def reject(self, raw: Any, reason: str) -> None:
        """Put what cannot be read into quarantine."""
        self.alive()
        self.health.rejects[reason] = self.health.rejects.get(reason, 0) + 1
        with contextlib.suppress(OSError):
            self._quarantine.parent.mkdir(parents=True, exist_ok=True)
            if self._quarantine.exists() and self._quarantine.stat().st_size > QUARANTINE_BYTES:
                return
            with self._quarantine.open("a", newline="", encoding="utf-8") as file:
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                csv.writer(file).writerow((now, reason, self._redact(str(raw))[:4000]))

    def show(self, state: str) -> None:
        """Show a state."""
        self.health.state = state

    async def keep(self, position: Any) -> None:
        """Keep a position behind all that was yielded."""
        self.flush()
        self._output.state.position = position
        await self._output.checkpoint(always=True)

    async def sleep(self, seconds: float) -> None:
        """Wait; that is not silence."""
        self._sleeping += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._sleeping -= 1
            self.alive()

    # --- what the runtime calls

    def take(self, item: Any) -> None:
        """Take what the adapter yielded."""
        self.alive()
        if isinstance(item, Columns):
            self._take_columns(item)
            return
        ticks: Iterable[Mapping[str, Any]] = item if isinstance(item, list | tuple) else (item,)
        wall = time.time_ns()
        latest = wall + AHEAD_NS if self.adapter.clock == "arrival" else 2**62
        for tick in ticks:
            try:
                pending = self._blocks.add(tick, self._active, latest)
            except Refused as error:
                self.reject(tick, str(error))
                continue
            if pending is None:
                continue
            self.received += 1
            symbol, stamp = tick["symbol"], tick["timestamp"]
            self._clock.saw(symbol, stamp, wall, self._output.state.symbols[symbol].floor)
            self._newest(stamp, wall)
            if pending >= BLOCK_TICKS:
                self.flush()
        if self._timer is None:
            loop = asyncio.get_running_loop()
            delay = self._round_at - loop.time()
            self._timer = loop.call_later(delay, self._on_timer) if delay > 0 else loop.call_soon(self._on_timer)

    def _take_columns(self, item: Columns) -> None:
        try:
            for outgoing in self._blocks.add_columns(item):
                self._output.send_block(outgoing)
                self.received += len(outgoing.block)
                self._newest(int(outgoing.block.timestamp[-1]), time.time_ns())
        except Refused as error:
            self.reject(f"{item.batch.num_rows} ticks of {item.symbol} from {item.sequence}", str(error))

    def _newest(self, stamp: int, wall: int) -> None:
        self.health.last_tick = str(stamp)
        self.health.last_received = wall / 1e9
        if self.adapter.clock == "arrival":
            self.health.lag_ms = round((wall - stamp) / 1e6, 3)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self.flush()
        except Exception as error:
            if not self.failed.done():
                self.failed.set_exception(error)

    def flush(self) -> None:
        """Send what is pending."""
        before = self._output.blocks
        for item in self._blocks.flush():
            self._output.send_block(item)
        sent = self._output.blocks - before
        self._round_at = asyncio.get_running_loop().time() + max(ROUND_SECONDS, sent * BLOCK_SECONDS)

    def look(self) -> None:
        """Do what is due by the time: gaps that stayed open, bars of a quiet market, delivery reports."""
        self._output.poll()
        now = time.monotonic()
        self._quiet += min(now - self._looked, STALL_SECONDS)  # while this process stood still, nobody was silent
        self._looked = now
        self._tell_holes(time.monotonic() - PATIENCE)
        if self.health.state == "live" and self.adapter.clock == "arrival":
            self._output.state.behind = self._clock.behind
            due = list(self._clock.due(time.time_ns()))
            if due:
                self.flush()
            for symbol, timestamp in due:
                self._output.send_watermark(symbol, timestamp)

    def end(self) -> None:
        """Send what is pending, and tell the holes that nothing can fill any more."""
        self.flush()
        self._tell_holes(float("inf"))

    def _tell_holes(self, before: float) -> None:
        for symbol, missed, since in self._blocks.gaps(before):
            self.gap("sequence", symbol, missed, since)

    @property
    def silent(self) -> float:
        """Seconds since anything came from the provider."""
        return 0.0 if self._sleeping else self._quiet

    def report(self) -> Health:
        """Return how the stream does."""
        counts, health = self._blocks.counts, self.health
        health.ticks, health.repeats, health.out_of_order = (
            counts[name] for name in ("ticks", "repeats", "out_of_order")
        )
        health.blocks, health.symbols = self._output.blocks, len(self._output.state.symbols)
        health.position = None if self.position is None else msgspec.json.encode(self.position).decode()
        health.written = time.time()
        return health

    def _lost(self, reason: str) -> None:
        """Mark a gap of unknown length in each symbol whose ticks have no numbers that would tell."""
        if self.adapter.resumes:
            return
        for symbol, known in list(self._output.state.symbols.items()):
            if self.adapter.sequence != "contiguous" or not known.sequences:
                self.gap(reason, symbol)

    def _market_time(self) -> int | None:
        return None if self._clock.behind is None else time.time_ns() - self._clock.behind
