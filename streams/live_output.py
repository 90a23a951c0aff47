"""Where a live stream's messages go: its tick topic, its checkpoints, and the team's events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec

from lit.streams import topics
from lit.streams.live_blocks import Outgoing
from lit.streams.live_state import CHECKPOINT, GAP_HEADER, SEQUENCE_HEADER, LiveState
from lit.streams.records import Event, encode_json
from lit.streams.replay_send import Sender
from lit.streams.tick import Gap, Watermark

#: How long Kafka may take to accept a message before the stream gives up and is started anew.
DELIVERY_SECONDS = 30.0


class Output:
    """Sends blocks, watermarks and gaps in order, and remembers in `state` what was sent.

    Parameters
    ----------
    bootstrap, team, stream
        Where to; `create_topics` must have been called.
    state
        Where the stream stands; kept up to date.
    """

    def __init__(self, bootstrap: str, team: str, stream: str, state: LiveState) -> None:
        self.state = state
        self.blocks = 0
        self._team, self._stream = team, stream
        self._state_topic = topics.state(team, "stream", stream).name
        self._sender = Sender(bootstrap, topics.ticks(team, stream).name, DELIVERY_SECONDS)
        self._dirty = False

    def send_block(self, item: Outgoing) -> None:
        """Send a block."""
        header = [(SEQUENCE_HEADER, msgspec.json.encode(item.sequence))] if item.sequence else []
        self._sender.send(item.block, "", int(item.block.timestamp[-1]), header)
        self.blocks += 1
        self._dirty = True

    def send_watermark(self, symbol: str, timestamp: int) -> None:
        """Send a watermark; one that says nothing new is left out."""
        known = self.state.symbols.get(symbol)
        if known is None or timestamp <= known.floor:
            return
        known.floor = timestamp
        self._sender.send(Watermark(symbol, timestamp, known.next_index), "", timestamp)
        self._dirty = True

    def send_gap(self, symbol: str, gap: Gap) -> int:
        """Send a gap of a symbol that had ticks; returns the index of the tick before which it stands."""
        known = self.state.symbols[symbol]
        closed = max(known.last, known.floor)
        known.told += 1
        number = [(GAP_HEADER, str(known.told).encode())]
        self._sender.send(Watermark(symbol, closed, known.next_index, gap=gap), "", closed, number)
        self._dirty = True
        return known.next_index

    def tell(self, status: str, **detail: Any) -> None:
        """Publish an event of the stream."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = Event("stream", self._stream, status, now, detail)
        self._sender.publish(topics.events(self._team).name, self._stream.encode(), encode_json(event))

    def poll(self) -> None:
        """Serve delivery reports; raises `FaultError` if something could not be delivered."""
        self._sender.poll(0)

    async def checkpoint(self, always: bool = False) -> None:
        """Wait until all that was sent is in the topic, and write where the stream stands then."""
        if not (self._dirty or always):
            return
        self._dirty = False
        # Offsets must not be newer than the state: to read once more what is in it is harmless, to miss some is not.
        value = self.state.encoded(dict(self._sender.acknowledged))
        await asyncio.to_thread(self._sender.finish)
        self._sender.publish(self._state_topic, CHECKPOINT, value, partition=0)
        await asyncio.to_thread(self._sender.finish)

    def close(self) -> None:
        """Wait for what is under way."""
        self._sender.finish()

    def abandon(self) -> None:
        """Drop what was not sent yet."""
        self._sender.abandon()


def create_topics(bootstrap: str, team: str, stream: str, replication: int = 1) -> None:
    """Create what a stream writes to, as far as it is missing."""
    wanted = (topics.ticks(team, stream), topics.state(team, "stream", stream), topics.events(team))
    topics.create_topics(bootstrap, *wanted, replication=replication)
