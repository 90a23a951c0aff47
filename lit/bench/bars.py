"""Bars through Faust, against a plain loop over the same blocks and against Faust with an event a tick.

Each is timed in a process of its own, from its first message to its last.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from typing import Any

import faust
import msgspec
import numpy as np

from lit.features.intervals import Interval
from lit.processors.app import guarded, raw_topic, run
from lit.processors.bars import bars_app
from lit.processors.bars_config import BarsConfig
from lit.streams import topics
from lit.streams.clients import consumer
from lit.streams.codec import decode
from lit.streams.tick import Float64Array, TickBlock

TEAM, SOURCE, SHORT, EVENTS = "bench", "bars", "short", "events"
_MINUTE = 60_000_000_000


class Timed(msgspec.Struct):
    """Messages' ticks, the seconds from the first to the last of them, and the process' largest memory in bytes."""

    ticks: int
    seconds: float
    memory: int = 0

    @property
    def rate(self) -> float:
        """Ticks a second."""
        return self.ticks / self.seconds


def faust_blocks(bootstrap: str, ticks: int, source: str = SOURCE) -> Timed:
    """The bars worker as it is: Arrow blocks in, bars and state out, in transactions."""
    times: list[tuple[float, int]] = []
    seen = 0

    def count(done: int) -> None:
        nonlocal seen
        seen += done
        times.append((time.perf_counter(), done))

    async def all_done() -> None:
        while seen < ticks:
            await asyncio.sleep(0.01)

    config = BarsConfig(bootstrap, TEAM, source, (Interval.parse("1minute"),))
    config.create_topics()
    run(bars_app(config, on_commit=count), all_done)
    # the first group was on its way before the first time was taken
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Timed(seen - times[0][1], max(times[-1][0] - times[0][0], 1e-9), memory)


def plain_loop(bootstrap: str, ticks: int, source: str = SOURCE) -> Timed:
    """confluent-kafka and NumPy: decode the same blocks and compute the same bars, publish nothing."""
    reader = consumer(bootstrap, "bench-plain")
    reader.subscribe([topics.ticks(TEAM, source).name])
    seen, began, carry = 0, 0.0, {}
    while seen < ticks:
        for message in reader.consume(64, 1.0):
            began = began or time.perf_counter()
            block = decode(message.key(), message.value(), message.headers())
            if isinstance(block, TickBlock):
                carry[block.symbol] = numpy_bars(block)
                seen += len(block)
    seconds = time.perf_counter() - began
    reader.close()
    return Timed(seen, seconds)


def numpy_bars(block: TickBlock) -> Float64Array:
    """Minute bars of a block by `reduceat`, (n, 8)."""
    minute = block.timestamp // _MINUTE
    starts = np.flatnonzero(np.diff(minute, prepend=minute[0] - 1))
    ends = np.append(starts[1:], len(minute))
    price, volume = block.price, block.volume
    trades, total = (ends - starts).astype(float), np.add.reduceat(volume, starts)
    return np.column_stack(
        [
            price[starts],
            np.maximum.reduceat(price, starts),
            np.minimum.reduceat(price, starts),
            price[ends - 1],
            trades,
            total,
            total / trades,
            np.maximum.reduceat(volume, starts),
        ]
    )


def faust_events(bootstrap: str, ticks: int, source: str = EVENTS) -> Timed:
    """A Faust agent that takes a JSON event a tick and keeps the open bar in a dict, as tutorials do."""
    folder = tempfile.TemporaryDirectory(prefix="lit-bench-")  # Faust makes a data folder, used or not
    app = faust.App(
        "bench-events",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder.name,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
    )
    bars: dict[bytes, dict[str, Any]] = {}
    seen, began, ended = 0, 0.0, 0.0

    async def body(stream: Any) -> None:
        nonlocal seen, began, ended
        async for event in stream.events():
            began = began or time.perf_counter()
            tick = msgspec.json.decode(event.value)
            bar = bars.get(event.key)
            minute, price, volume = tick["timestamp"] // _MINUTE, tick["price"], tick["volume"]
            if bar is None or bar["minute"] != minute:
                bars[event.key] = bar = {"minute": minute, "high": price, "low": price, "volume": 0.0}
            bar["high"], bar["low"] = max(bar["high"], price), min(bar["low"], price)
            bar["close"], bar["volume"] = price, bar["volume"] + volume
            seen += 1
            ended = time.perf_counter()

    async def all_done() -> None:
        while seen < ticks:
            await asyncio.sleep(0.01)

    app.agent(raw_topic(app, topics.ticks(TEAM, source).name), name="events")(guarded(body))
    run(app, all_done)
    return Timed(seen, ended - began)


PIPELINES = {"faust": faust_blocks, "plain": plain_loop, "events": faust_events}

if __name__ == "__main__":
    kind, address, wanted, name = sys.argv[1:5]
    timed = PIPELINES[kind](address, int(wanted), name)
    sys.stdout.write(msgspec.json.encode(timed).decode() + "\n")
