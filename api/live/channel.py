"""A channel numbers what its clients get; a client that is too slow is told so and given the whole picture again.

All of it belongs to the event loop: no locks, and a snapshot and its number always agree.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from lit.api.live.forming import Forming

#: Messages that a client which comes back may have missed and still be given.
REPLAYED = 1000
#: Messages that may wait for a slow client before they are merged into a snapshot.
QUEUED = 256
HEARTBEAT_SECONDS = 2.0
#: An open bar is told at most every so many seconds.
FORMING_SECONDS = 0.05


def encode(seq: int, kind: str, **fields: Any) -> str:
    """Return a message as text."""
    return msgspec.json.encode({"seq": seq, "type": kind, **fields}).decode()


class Channel:
    """One (stream, interval, symbol, deployment) that clients watch."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.seq = 0
        self.clients: set[Client] = set()
        self.idle_since = time.monotonic()
        self._sent: deque[tuple[int, str]] = deque(maxlen=REPLAYED)

    def publish(self, kind: str, **fields: Any) -> None:
        """Number a message and give it to all clients."""
        self.seq += 1
        text = encode(self.seq, kind, **fields)
        self._sent.append((self.seq, text))
        for client in self.clients:
            client.put(text, supersedes_forming=kind == "bar")

    def forming(self, bar: Forming) -> None:
        """Show an open bar to all clients, without a number: it is superseded, not replayed."""
        for client in self.clients:
            client.show(bar)

    def after(self, seq: int | None, epoch: str | None) -> list[str] | None:
        """Return what followed message `seq`, or None if that is not known any more."""
        if seq is None or epoch != self.epoch or not 0 <= seq <= self.seq:
            return None
        if seq < self.seq and (not self._sent or self._sent[0][0] > seq + 1):
            return None
        return [text for number, text in self._sent if number > seq]


class Client:
    """One WebSocket: a bounded queue, and one place for the open bar."""

    def __init__(self, queued: int = QUEUED) -> None:
        self._queue: deque[str] = deque()
        self._limit = queued
        self._missed = 0
        self._forming: Forming | None = None
        self._forming_at = 0.0
        self._wake = asyncio.Event()

    def put(self, text: str, supersedes_forming: bool = False) -> None:
        """Queue a message; with a full queue, all that waits becomes one snapshot later."""
        if supersedes_forming:
            self._forming = None
        if self._missed:
            self._missed += 1
        elif len(self._queue) >= self._limit:
            self._missed = len(self._queue) + 1
            self._queue.clear()
        else:
            self._queue.append(text)
        self._wake.set()

    def show(self, bar: Forming) -> None:
        """Show an open bar as soon as its turn comes."""
        self._forming = bar
        self._wake.set()

    async def send_all(
        self,
        channel: Channel,
        seen: tuple[int | None, str | None],
        snapshot: Callable[[], dict[str, Any]],
        send: Callable[[str], Awaitable[None]],
        lagged: Callable[[], None],
    ) -> None:
        """Greet, then send until cancelled.

        Parameters
        ----------
        channel
            What to watch; this client joins it.
        seen
            Number and epoch of the last message that the client knows.
        snapshot
            Returns the whole picture as of now.
        send
            Sends a text; returns when there is room for more.
        lagged
            Called each time this client was too slow.
        """
        missed = channel.after(*seen)
        hello = {"epoch": channel.epoch, "resumed": missed is not None, "heartbeat_s": HEARTBEAT_SECONDS}
        first = [encode(channel.seq if missed is None else channel.seq - len(missed), "hello", **hello)]
        first += [encode(channel.seq, "snapshot", **snapshot())] if missed is None else missed
        if missed is not None and (bar := snapshot()["forming"]) is not None:
            self._forming = bar  # open bars are not numbered, so the missed messages hold none
        channel.clients.add(self)
        for text in first:
            await send(text)
        while True:
            await self._send_waiting(channel, snapshot, send, lagged)
            await self._pause(channel, send)

    async def _send_waiting(
        self,
        channel: Channel,
        snapshot: Callable[[], dict[str, Any]],
        send: Callable[[str], Awaitable[None]],
        lagged: Callable[[], None],
    ) -> None:
        while self._queue or self._missed:
            if self._missed:
                missed, self._missed, self._forming = self._missed, 0, None
                texts = [
                    encode(channel.seq, "lagged", missed=missed),
                    encode(channel.seq, "snapshot", **snapshot()),
                ]
                lagged()
                for text in texts:
                    await send(text)
            else:
                await send(self._queue.popleft())
        now = time.monotonic()
        if self._forming is not None and now >= self._forming_at:
            bar, self._forming = self._forming, None
            self._forming_at = now + FORMING_SECONDS
            await send(encode(channel.seq, "forming", bar=bar))

    async def _pause(self, channel: Channel, send: Callable[[str], Awaitable[None]]) -> None:
        """Wait for something to send, or tell after a while that there was nothing."""
        if self._forming is not None:
            await asyncio.sleep(max(0.0, self._forming_at - time.monotonic()))
            return
        self._wake.clear()
        if self._queue or self._missed:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT_SECONDS)
        except TimeoutError:
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            await send(encode(channel.seq, "heartbeat", time=stamp))
