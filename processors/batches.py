"""Faust's consumer with fetches as messages: all that came of a partition at once is one event.

Faust's way from the consumer to the agent costs 0.1 ms a message, which is more than the work on a tick that comes
alone. So a batch is one Faust message: its offset is that of its last record, and acknowledging it acknowledges all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from faust.transport.drivers import aiokafka
from faust.types.tuples import ConsumerMessage


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


class BatchConsumer(aiokafka.Consumer):  # type: ignore[misc]
    """Hands fetches over whole."""

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
