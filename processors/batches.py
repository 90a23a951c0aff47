"""A Faust app whose messages are fetches: all that came of a partition at once, as one event.

Faust's way from the consumer to the agent costs 0.1 ms a message, which is more than the work on a tick that comes
alone. So a batch is one Faust message: its offset is that of its last record, and acknowledging it acknowledges all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import faust
from faust.types.tuples import ConsumerMessage

#: Batches that may wait between consumer and agent; each is at most a partition's share of a fetch.
_BUFFERED_BATCHES = 4


class Batch(ConsumerMessage):  # type: ignore[misc]
    """A partition's records of one fetch, in order; `records` have offset, key, value and headers."""

    records: list[Any]


class _InBatches:
    """The part of a Faust consumer that hands records over."""

    async def getmany(self: Any, timeout: float) -> AsyncIterator[tuple[Any, Batch]]:
        """Yield what was fetched, a batch a partition."""
        fetched, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for place, records in (fetched or {}).items():
            if self.should_stop or not self.flow_active or self.app.consumer_generation_id != generation:
                return
            last = records[-1]
            batch = Batch(
                last.topic, last.partition, last.offset, last.timestamp / 1000, last.timestamp_type, None, b"", b"",
                None, tp=place, generation_id=generation,
            )  # fmt: skip
            batch.records = records
            self._read_offset[place] = None  # else Faust keeps a list of the offsets that it takes for holes
            yield place, batch

    def _new_offset(self: Any, place: Any) -> int | None:
        """Return the offset behind the last acknowledged batch; agents acknowledge in order."""
        acknowledged = self._acked[place]
        if not acknowledged:
            return None
        last = max(acknowledged)
        acknowledged.clear()
        self._acked_index[place].clear()
        return int(last) + 1


def in_batches(app: faust.App) -> faust.App:
    """Make an app's events batches: `event.message` is a `Batch`."""
    transport = app.transport
    transport.Consumer = type("BatchConsumer", (_InBatches, transport.Consumer), {})
    app.conf.stream_buffer_maxsize = _BUFFERED_BATCHES
    return app
