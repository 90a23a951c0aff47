"""Local providers for tests of stream adapters, and what a test asks of a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.clients import partitions_of
from lit.streams.codec import decode
from lit.streams.live import AdapterName, Stream, save_stream
from lit.streams.live_health import Health, read_health
from lit.streams.live_run import Backoff, run_stream
from lit.streams.tick import Gap, TickBlock, Watermark
from lit.streams.workspace import Workspace

#: Attempts follow each other fast, so that tests need not wait.
FAST = Backoff(0.05, 0.2)
Item = TickBlock | Watermark
Behaviour = Callable[[ServerConnection, int], Awaitable[None]]


@contextlib.asynccontextmanager
async def provider(behaviour: Behaviour, **options: Any) -> AsyncIterator[str]:
    """Serve a WebSocket whose connections (numbered from 0) run `behaviour`; yields its address."""
    count = 0

    async def handler(socket: ServerConnection) -> None:
        nonlocal count
        number, count = count, count + 1
        await behaviour(socket, number)

    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def trade(number: int, symbol: str = "AAA", **more: Any) -> str:
    """Return a trade as a made-up provider sends it, nested, with its time in ms."""
    fields = {"s": symbol, "p": str(100 + number % 10), "q": 1 + number % 3, "T": int(time.time() * 1000), "n": number}
    return json.dumps({"type": "trade", "data": {**fields, **more}})


FIELDS = {
    "symbol": "data.s",
    "timestamp": "data.T",
    "Price": "data.p",
    "Volume": "data.q",
    "Seq. No.": "data.n",
}


def add_stream(workspace: Workspace, name: str, adapter: str, intervals: list[str] | None = None, **given: Any) -> None:
    """Write a stream's file."""
    save_stream(workspace, name, Stream(AdapterName(adapter), given, intervals or []))


@contextlib.asynccontextmanager
async def running(workspace: Workspace, name: str, kafka: str) -> AsyncIterator[asyncio.Task[None]]:
    """Run a stream in this process while the block runs, then stop it in order."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_stream(workspace, name, kafka, stop, backoff=FAST))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task})
    task.result()


async def until(
    workspace: Workspace, name: str, holds: Callable[[Health], bool], task: asyncio.Task[None] | None = None
) -> Health:
    """Wait until a stream's own report of itself fulfils a condition."""
    deadline = time.monotonic() + 40
    while True:
        health = read_health(workspace, name)
        if health is not None and holds(health):
            return health
        if task is not None and task.done():
            task.result()
        assert time.monotonic() < deadline, health
        await asyncio.sleep(0.05)


def recorded(kafka: str, team: str, stream: str) -> dict[str, list[Item]]:
    """Return what a tick topic holds, by symbol, in order."""
    found: dict[str, list[Item]] = {}
    topic = topics.ticks(team, stream).name
    for partition in partitions_of(kafka, topic):
        for message in read_messages(kafka, topic, partition):
            item = decode(message.key(), message.value(), message.headers())
            found.setdefault(item.symbol, []).append(item)
    return found


def blocks(items: list[Item]) -> list[TickBlock]:
    """Return the blocks of a sequence, having checked that indices have no gap and no repeat."""
    found = [item for item in items if isinstance(item, TickBlock)]
    edges = [(block.first_index, block.next_index) for block in found]
    assert [first for first, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
    return found


def numbers(items: list[Item]) -> list[int]:
    """Return `Seq. No.` of all ticks in order."""
    return [number for block in blocks(items) for number in block.batch.column("Seq. No.").to_pylist()]


def gaps(items: list[Item]) -> list[Gap]:
    """Return the gaps that are marked."""
    return [item.gap for item in items if isinstance(item, Watermark) and item.gap]
