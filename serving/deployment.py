"""A deployment as a Faust app: ticks in, predictions and scores out, each once though it is killed and restarted.

Faust assigns partitions and delivers what is new. Each partition's owner fills its windows by itself, and reads what
came while nobody listened from the topic, so no offset of the consumer group matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import faust
import psutil

from lit.processors.app import create_app, end_process, guarded, raw_topic
from lit.processors.batches import Batch
from lit.serving.config import DeploymentConfig
from lit.serving.partition import Arrival, DeploymentPartition
from lit.serving.predictions import Model

#: Messages of a partition that may wait while a group is worked on.
_WAITING = 1024
_LOOK_SECONDS = 1.0
#: Time between fetches: as long as the last group took, since what comes meanwhile has to wait anyway, but this at
#: least and at most. A fixed 10 ms made p99 worse on a slow machine, 20 ms the median a fifth later on a fast one.
_LEAST_GATHER_SECONDS, _MOST_GATHER_SECONDS = 0.01, 0.05


class _Lane:
    """A partition that this process owns, and its messages that wait to be applied.

    While one group is computed and written, the next gathers: alone when all is quiet, many symbols' at once when
    their bars close together. Lanes do not wait for each other's transactions, but all wait while one is full.
    """

    def __init__(self, open_partition: Callable[[], DeploymentPartition], took: Callable[[float], None]) -> None:
        self._open_partition, self._took = open_partition, took
        self._partition: DeploymentPartition | None = None
        self._waiting: list[Arrival] = []
        self._lock = asyncio.Lock()
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._looked_at = -1
        self._task = asyncio.create_task(_to_the_end(self._work()))

    async def put(self, batch: Batch) -> None:
        """Let messages wait for their turn; returns when there is room for more."""
        now = time.time()
        self._waiting += [
            Arrival(one.offset, one.key or b"", one.value or b"", one.headers, now) for one in batch.take()
        ]
        self._some.set()
        if len(self._waiting) >= _WAITING:
            self._room.clear()
            await self._room.wait()

    async def look(self) -> None:
        """Record progress, and read what was not delivered (Faust may have begun to listen later than we ended)."""
        if self._lock.locked():  # it is at work, which records progress by itself
            return
        async with self._lock:
            partition = self._partition
            if partition is None:
                return
            if self._looked_at == partition.position and not self._waiting:  # all is quiet
                await asyncio.to_thread(partition.catch_up)
            if partition.save_due:
                await asyncio.to_thread(partition.save)
            self._looked_at = partition.position

    async def close(self) -> None:
        """Give the partition up: whoever owns it next goes on from its state."""
        async with self._lock:
            self._task.cancel()
            self._room.set()
            partition, self._partition = self._partition, None  # who waits for the lock to look finds nothing
            if partition is not None:
                await asyncio.to_thread(partition.save)

    async def _work(self) -> None:
        async with self._lock:
            self._partition = partition = await asyncio.to_thread(self._open_partition)
        while True:
            await self._some.wait()
            self._some.clear()
            async with self._lock:
                arrivals, self._waiting = self._waiting, []
                self._room.set()
                began = time.monotonic()
                await asyncio.to_thread(partition.take, arrivals)
                self._took(time.monotonic() - began)


def deployment_app(config: DeploymentConfig, models: Sequence[Model]) -> faust.App:
    """Return the Faust app of a deployment."""
    for model in models:
        model.check()
    app = create_app(config.app_id, config.bootstrap)
    app.conf.consumer_auto_offset_reset = "latest"
    app.gather_seconds = _LEAST_GATHER_SECONDS
    lanes: dict[int, _Lane] = {}
    computing = threading.Lock()

    def pace(seconds: float) -> None:
        app.gather_seconds = min(max(seconds, _LEAST_GATHER_SECONDS), _MOST_GATHER_SECONDS)

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            lane = lanes.get(event.message.partition)
            if lane is not None:  # else it is read from the topic, by whoever owns the partition
                await lane.put(event.message)

    app.agent(raw_topic(app, config.ticks_topic), name="deployment")(guarded(body))

    async def look() -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for lane in list(lanes.values()):
                await lane.look()

    @app.task  # type: ignore[untyped-decorator]
    async def look_for_ever() -> None:
        await _to_the_end(look())

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def own(_app: Any, assigned: Any, **_: Any) -> None:
        for place in assigned:
            if place.topic == config.ticks_topic and place.partition not in lanes:
                make = partial(DeploymentPartition, config, models, place.partition, computing)
                lanes[place.partition] = _Lane(make, pace)

    async def close_all() -> None:
        closing = list(lanes.values())
        lanes.clear()
        await asyncio.gather(*(lane.close() for lane in closing))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    @app.on_before_shutdown.connect  # type: ignore[untyped-decorator]
    async def release(*_: Any, **__: Any) -> None:  # before the group knows, so that a successor finds nobody at work
        await _to_the_end(close_all())

    return app


def await_end(process: int) -> None:
    """Wait until a process has ended: a successor takes over where it stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        watched = psutil.Process(process)
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.02)


async def _to_the_end(work: Any) -> None:
    """Do work; an error ends the process."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        end_process(error)
