"""The tick sink: tick blocks into the store, each row once.

Rows carry (partition, offset, position), and the store says up to which offset of a partition it has everything, so
the store itself is the sink's state: a restarted sink skips what is there. Offsets are acknowledged after an insert.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import faust

from lit.processors.app import create_app, end_process, guarded, is_current, raw_topic
from lit.streams import topics
from lit.streams.codec import PoisonError, decode
from lit.streams.store import TickStore
from lit.streams.tick import TickBlock

log = logging.getLogger(__name__)

#: An insert is made of this many ticks or this age: ClickHouse wants few and large ones.
INSERT_TICKS = 250_000
INSERT_SECONDS = 0.5


@dataclass
class _Pending:
    """Blocks of one partition on their way into the store."""

    blocks: list[tuple[int, TickBlock]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    ticks: int = 0
    since: float = 0.0

    @property
    def due(self) -> bool:
        return self.ticks >= INSERT_TICKS or (bool(self.events) and time.monotonic() - self.since >= INSERT_SECONDS)


def sink_app(bootstrap: str, team: str, source: str, store: TickStore) -> faust.App:
    """Return the Faust app that stores the ticks of a source."""
    app = create_app(f"lit.{team}.sink.{source}".replace(" ", "_"), bootstrap)
    pending: dict[int, _Pending] = {}
    applied: dict[int, int] = {}
    lock = asyncio.Lock()
    # one thread: inserts come one by one anyway, and each thread more would keep an allocator arena of its own
    thread = ThreadPoolExecutor(1, "store")

    async def stored(call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(thread, call, *arguments)

    async def insert(partition: int) -> None:
        group = pending.pop(partition)
        if group.blocks:
            await stored(store.insert, source, partition, group.blocks)
            applied[partition] = group.blocks[-1][0]
        for event in group.events:
            event.ack()

    def take(event: Any) -> None:
        number = event.message.partition
        group = pending.setdefault(number, _Pending())
        group.since = group.since or time.monotonic()
        group.events.append(event)
        for message in event.message.take():
            if message.offset > applied.get(number, -1) and (block := _block(message)) is not None:
                group.blocks.append((message.offset, block))
                group.ticks += len(block)

    async def body(stream: Any) -> None:
        applied.update(await stored(store.applied, source))
        async for event in stream.noack().events():
            async with lock:
                if is_current(app, event):
                    take(event)
                    if pending[event.message.partition].due:
                        await insert(event.message.partition)

    app.agent(raw_topic(app, topics.ticks(team, source).name), name="sink")(guarded(body))

    @app.task  # type: ignore[untyped-decorator]
    async def flush() -> None:
        try:
            while not app.should_stop:
                await asyncio.sleep(INSERT_SECONDS / 2)
                async with lock:
                    for partition in [number for number, group in pending.items() if group.due]:
                        await insert(partition)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(error)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        async with lock:
            pending.clear()
            applied.update(await stored(store.applied, source))

    return app


def _block(message: Any) -> TickBlock | None:
    """Return the ticks that a message has, if any."""
    try:
        item = decode(message.key, message.value, message.headers)
    except PoisonError as error:  # the bars processor has put it into the dead letters
        log.error("offset %d is skipped: %s", message.offset, error)
        return None
    return item if isinstance(item, TickBlock) and len(item) else None
