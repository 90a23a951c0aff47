"""Faust's consumer with fetches as messages: all that came of a partition at once is one event.

Faust's way from the consumer to the agent costs 0.1 ms a message, which is more than the work on a tick that comes
alone. So a batch is one Faust message: its offset is that of its last record, and acknowledging it acknowledges all.

A fetch costs several times that, whatever it brings, in every worker and in the broker. What comes after a quiet moment
is fetched at once; in a steady flow fetches are some time apart, else they would be as many as the cores bear.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from faust.transport.drivers import aiokafka
from faust.types.tuples import ConsumerMessage

#: How long a fetch may wait for data. A partition that got data meanwhile waits as long if it is not in that fetch
#: (one is under way at a time for each broker), so Faust's own 1.5 s would hold it up.
FETCH_WAIT_MS = 50
#: Time between a fetch that brought something and the next one, where the app says nothing else. At a thousand ticks a
#: second, workers of two cores took half the CPU with it, and predictions came in half the time at the median.
GATHER_SECONDS = 0.02


class Batch(ConsumerMessage):  # type: ignore[misc]
    """A partition's records of one fetch, in order; they have offset, key, value and headers."""

    _records: list[Any]

    @classmethod
    def of(cls, records: list[Any], place: Any, generation: int) -> Batch:
        """Make a batch of a partition's records, one at the least."""
        last = records[-1]
        batch = cls(
            last.topic, last.partition, last.offset, last.timestamp / 1000, last.timestamp_type, None, b"", b"",
            None, tp=place, generation_id=generation,
        )  # fmt: skip
        batch._records = records
        return batch

    def take(self) -> list[Any]:
        """Return the records, once: a batch may wait long for its acknowledgement, and they are large."""
        records, self._records = self._records, []
        return records


class _ConsumerThread(aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # read when the consumer starts; Faust has no setting for it
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        _pace(self._consumer._fetcher, self.app)


def _pace(fetcher: Any, app: Any) -> None:
    """Let a fetcher rest after each fetch that brought something."""
    fetch = fetcher._proc_fetch_request
    rested = 0.0

    async def paced(*request: Any) -> bool:
        nonlocal rested
        try:
            await asyncio.sleep(max(0.0, rested - time.monotonic()))
            found = bool(await fetch(*request))
        except asyncio.CancelledError:  # the partitions were taken away, or all ends: the fetcher expects no error
            return False
        if found:
            rested = time.monotonic() + app.gather_seconds
        return found

    fetcher._proc_fetch_request = paced


class BatchConsumer(aiokafka.Consumer):  # type: ignore[misc]
    """Hands fetches over whole."""

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Batch]]:
        """Yield what was fetched, a batch a partition."""
        fetched, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for place, records in (fetched or {}).items():
            if self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation:
                return
            self._read_offset[place] = None  # else Faust keeps a list of the offsets that it takes for holes
            yield place, Batch.of(records, place, generation)

    def _new_offset(self, place: Any) -> int | None:
        """Return the offset behind the last acknowledged batch; agents acknowledge in order."""
        acknowledged = self._acked[place]
        if not acknowledged:
            return None
        last = max(acknowledged)
        acknowledged.clear()
        self._acked_index[place].clear()
        return int(last) + 1
