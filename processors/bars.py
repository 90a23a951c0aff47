"""The bars processor: tick blocks in, closed bars out, each bar once however often the process dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import faust

from lit.processors.app import create_app, end_process, guarded, is_current, raw_topic
from lit.processors.bar_partition import BarPartition, Group
from lit.processors.bars_config import BarsConfig

_LOOK_SECONDS = 0.02


def bars_app(config: BarsConfig, on_commit: Callable[[int], None] = lambda _ticks: None) -> faust.App:
    """Return the Faust app; one in-order agent, one transaction at a time a partition.

    Parameters
    ----------
    config
        Source, intervals, broker.
    on_commit
        Called after each transaction with the number of ticks that it was about.
    """
    app = create_app(config.app_id, config.bootstrap)
    partitions: dict[int, BarPartition] = {}
    lock = asyncio.Lock()

    async def write(partition: BarPartition, group: Group) -> None:
        try:
            await asyncio.to_thread(partition.write, group)
        except BaseException as error:
            end_process(error)
        on_commit(group.ticks)
        for event in group.events:
            event.ack()
        app.add_future(followed(partition))

    async def followed(partition: BarPartition) -> None:
        """Write what became due while others were written."""
        async with lock:
            if partitions.get(partition.number) is partition:
                await commit_due(partition)

    async def commit_due(partition: BarPartition) -> None:
        """Begin to write what is due, unless something is being written: it follows that, and nobody waits for it."""
        if partition.due and partition.idle:
            await commit(partition)

    async def commit(partition: BarPartition) -> None:
        """Begin to write what is due, once the group before is written; meanwhile the next is taken."""
        if partition.writing is not None:
            await partition.writing
        partition.writing = asyncio.create_task(write(partition, partition.close_group()))

    async def take(event: Any) -> None:
        number = event.message.partition
        if number not in partitions:
            partitions[number] = await asyncio.to_thread(BarPartition, config, number)
        partition = partitions[number]
        for message in event.message.take():
            partition.take(message)
            if partition.full:
                await commit(partition)
        partition.taken(event)
        await commit_due(partition)

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            async with lock:
                if is_current(app, event):
                    await take(event)

    app.agent(raw_topic(app, config.ticks_topic), name="bars")(guarded(body))

    @app.task  # type: ignore[untyped-decorator]
    async def close_groups() -> None:
        try:
            while not app.should_stop:
                await asyncio.sleep(_LOOK_SECONDS)
                async with lock:
                    for partition in partitions.values():
                        await commit_due(partition)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(error)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
    async def forget(*_: Any, **__: Any) -> None:
        async with lock:  # what was not committed is read again by whoever owns it next
            for partition in partitions.values():
                if partition.writing is not None:
                    await partition.writing
            partitions.clear()

    return app
