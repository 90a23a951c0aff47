"""A deployment as a Faust app: ticks in, predictions and scores out, each once though it is killed and restarted.

Faust assigns partitions and delivers what is new. Each partition's owner fills its windows by itself, and reads what
came while nobody listened from the topic, so no offset of the consumer group matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import faust
import psutil

from lit.processors.app import create_app, end_process, guarded, raw_topic
from lit.processors.batches import Batch, in_batches
from lit.serving.config import DeploymentConfig
from lit.serving.partition import Arrival, DeploymentPartition
from lit.serving.predictions import Model

#: Messages that may wait while a group is worked on.
_WAITING = 2048
_LOOK_SECONDS = 1.0


class _Owner:
    """The partitions that this process owns, and the messages that wait to be applied.

    While one group is computed and written, the next gathers: alone when all is quiet, many symbols' at once when
    their bars close together.
    """

    def __init__(self, config: DeploymentConfig, models: Sequence[Model]) -> None:
        self._config, self._models = config, models
        self._partitions: dict[int, DeploymentPartition] = {}
        self._waiting: dict[int, list[Arrival]] = {}
        self._count = 0
        self._lock = asyncio.Lock()
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    async def put(self, batch: Batch) -> None:
        """Let messages wait for their turn; returns when there is room for more."""
        now = time.time()
        self._waiting.setdefault(batch.partition, []).extend(
            Arrival(one.offset, one.key or b"", one.value or b"", one.headers, now) for one in batch.records
        )
        self._count += len(batch.records)
        self._some.set()
        if self._count >= _WAITING:
            self._room.clear()
            await self._room.wait()

    async def work(self) -> None:
        """Apply what waits, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            waiting, self._waiting, self._count = self._waiting, {}, 0
            self._room.set()
            async with self._lock:
                partitions = [(await self._partition(number), arrivals) for number, arrivals in waiting.items()]
                # each has a transaction of its own: they are computed one after the other but written at once
                await asyncio.gather(*(asyncio.to_thread(p.take, arrivals) for p, arrivals in partitions))

    async def own(self, numbers: set[int]) -> None:
        """Take partitions over, before a message of theirs comes."""
        async with self._lock:
            await asyncio.gather(*map(self._partition, numbers))

    async def look(self) -> None:
        """Record progress, and read what was not delivered (Faust may have begun to listen later than we ended)."""
        seen: dict[int, int] = {}
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for number in list(self._partitions):
                async with self._lock:
                    partition = self._partitions.get(number)
                    if partition is None:
                        continue
                    if seen.get(number) == partition.position and number not in self._waiting:  # all is quiet
                        await asyncio.to_thread(partition.catch_up)
                    if partition.save_due:
                        await asyncio.to_thread(partition.save)
                    seen[number] = partition.position

    async def release(self) -> None:
        """Give all partitions up: whoever owns them next goes on from their states."""
        async with self._lock:
            for partition in self._partitions.values():
                await asyncio.to_thread(partition.save)
            self._partitions.clear()
            self._waiting.clear()
            self._count = 0
            self._room.set()

    async def _partition(self, number: int) -> DeploymentPartition:
        if number not in self._partitions:
            self._partitions[number] = await asyncio.to_thread(DeploymentPartition, self._config, self._models, number)
        return self._partitions[number]


def deployment_app(config: DeploymentConfig, models: Sequence[Model]) -> faust.App:
    """Return the Faust app of a deployment."""
    for model in models:
        model.check()
    app = in_batches(create_app(config.app_id, config.bootstrap))
    app.conf.consumer_auto_offset_reset = "latest"
    owner = _Owner(config, models)

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            await owner.put(event.message)

    app.agent(raw_topic(app, config.ticks_topic), name="deployment")(guarded(body))

    @app.task  # type: ignore[untyped-decorator]
    async def work() -> None:
        await _to_the_end(owner.work())

    @app.task  # type: ignore[untyped-decorator]
    async def look() -> None:
        await _to_the_end(owner.look())

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def own(_app: Any, assigned: Any, **_: Any) -> None:
        numbers = {place.partition for place in assigned if place.topic == config.ticks_topic}
        app.add_future(_to_the_end(owner.own(numbers)))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def release(_app: Any, _revoked: Any, **_: Any) -> None:
        await owner.release()

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
