"""Hundreds of WebSocket clients on one `lit up`: how long readers wait, and what a client costs, some never reading.

The clients are a process of their own, `python -m lit.bench.clients URL TOKEN READERS STUCK`: it says `ready` once all
are greeted, reads until its standard input ends, and prints what it saw. Bars carry the time of their sending as their
volume, on the one clock of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from lit.bench.live import Latency, latency
from lit.bench.memory import lit_up
from lit.streams import topics
from lit.streams.broker import EmbeddedBroker
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.errors import FaultError
from lit.streams.records import Bar, encode_json
from lit.streams.store_open import running_server
from lit.streams.tick import iso, tick_block

TEAM, STREAM, SYMBOL, INTERVAL = "bench", "crowd", "S", "1second"
#: Bars on record before the first client comes: a chart's worth.
_HISTORY = 500
#: Receive buffer and segments of who never reads: with those of the loopback device, the kernel would take megabytes.
_BUFFER, _SEGMENT = 4096, 1400
_PATIENCE_SECONDS = 180.0
_WARM_SECONDS = 3.0
_SECOND = 1_000_000_000
#: Name of the thread that each Kafka client of librdkafka has one of.
_KAFKA_THREAD = "rdk:main"


class Seen(msgspec.Struct, frozen=True):
    """What the clients saw.

    Parameters
    ----------
    waits
        Seconds from the sending of a bar to its receipt, of all readers.
    conflated
        Updates that those who never read were given as one snapshot, when they read at last.
    readers_conflated
        The same of readers.
    closed
        Clients that the server closed: who never reads answers no ping either, for 40 s at most.
    """

    waits: list[float]
    conflated: int
    readers_conflated: int
    closed: int


class Measured(msgspec.Struct, frozen=True):
    """One run: a single client, then all of them."""

    clients: int
    never_read: int
    updates: int
    single: Latency
    readers: Latency
    memory_a_client: int
    kafka_readers: int
    conflated: int
    readers_conflated: int
    closed: int


class _Bar(msgspec.Struct):
    volume: float
    ordinal: int


class _Message(msgspec.Struct):
    type: str
    bar: _Bar | None = None
    bars: list[_Bar] = []
    missed: int = 0


def measure(
    data: Path, clients: int, never_read: int, rate: float, seconds: float, tell: Callable[[str], None]
) -> Measured:
    """Return what clients of a live candlestick wait for and cost.

    Parameters
    ----------
    data
        An empty folder.
    clients, never_read
        How many there are, and how many of them never read.
    rate, seconds
        Bars a second, and for how long: for a single client, and for all.
    tell
        Takes a line for each step.
    """
    tell("lit up is starting")
    with lit_up(data) as server:
        found = running_server(data)
        assert found is not None
        feed = _Feed(EmbeddedBroker(data).running() or "")
        feed.history()
        process = psutil.Process(server.pid)
        before = _kafka_clients(process)
        with _crowd(*found, 1, 0):
            tell("warming up")
            feed.send(rate, _WARM_SECONDS)
        with _crowd(*found, 1, 0) as one:
            tell(f"a single client, {seconds:.0f} s")
            feed.send(rate, seconds)
            single = _end(one)
        alone = process.memory_info().rss
        with _crowd(*found, clients - never_read, never_read) as crowd:
            tell(f"{clients} clients, {never_read} of which never read, {seconds:.0f} s")
            updates = feed.send(rate, seconds)
            grown = process.memory_info().rss - alone
            readers = _kafka_clients(process) - before
            seen = _end(crowd)
    return Measured(
        clients,
        never_read,
        updates,
        latency(single.waits),
        latency(seen.waits),
        grown // clients,
        readers,
        seen.conflated,
        seen.readers_conflated,
        seen.closed,
    )


class _Feed:
    """Sends bars of one symbol."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._sender = producer(bootstrap, **{"linger.ms": 0})
        self._topic = topics.bars(TEAM, STREAM, INTERVAL).name
        self._next = 0
        self._origin = time.time_ns() // _SECOND * _SECOND - 100_000 * _SECOND

    def history(self) -> None:
        """Send a tick and the bars of before."""
        ticks = topics.ticks(TEAM, STREAM)
        topics.create_topics(self._bootstrap, ticks, topics.bars(TEAM, STREAM, INTERVAL))
        message = encode(tick_block(SYMBOL, 0, np.array([self._origin]), np.array([100.0]), np.ones(1)))
        self._sender.produce(ticks.name, key=message.key, value=message.value, headers=message.headers)
        self._sender.produce(self._topic, encode_json([self._bar() for _ in range(_HISTORY)]), SYMBOL.encode())
        self._flush()

    def send(self, rate: float, seconds: float) -> int:
        """Send bars at a rate; returns how many."""
        began, count = time.monotonic(), int(rate * seconds)
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            self._sender.produce(self._topic, encode_json(self._bar()), SYMBOL.encode())
            self._sender.poll(0)
        self._flush()
        time.sleep(2.0)  # the last of them arrive
        return count

    def _bar(self) -> Bar:
        number, self._next = self._next, self._next + 1
        start = self._origin + number * _SECOND
        price, sent = 100.0 + number % 7, time.monotonic()
        values = (price, price, price, price, 1.0, sent, sent, sent)
        return Bar(SYMBOL, INTERVAL, iso(start), iso(start + _SECOND), *values, number, number, number)

    def _flush(self) -> None:
        if self._sender.flush(30):
            raise FaultError("the benchmark's broker takes no bars")


def _kafka_clients(process: psutil.Process) -> int:
    names = (task.joinpath("comm").read_text().strip() for task in Path(f"/proc/{process.pid}/task").iterdir())
    return sum(name == _KAFKA_THREAD for name in names)


@contextlib.contextmanager
def _crowd(url: str, token: str, readers: int, stuck: int) -> Iterator[subprocess.Popen[str]]:
    """Yield the clients' process once all of them are greeted."""
    command = [sys.executable, "-m", "lit.bench.clients", url, token, str(readers), str(stuck)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        if child.stdout.readline() != "ready\n":
            raise FaultError("the benchmark's clients were not served: their error is above")
        yield child
    finally:
        child.kill()
        child.wait()


def _end(crowd: subprocess.Popen[str]) -> Seen:
    said, _ = crowd.communicate(timeout=_PATIENCE_SECONDS)
    return msgspec.json.decode(said, type=Seen)


class _Readers:
    """Clients that take whatever comes, and note when."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.conflated = 0
        self.newest = -1
        self.closed = 0

    async def read(self, client: ClientConnection, last: int | None = None) -> None:
        """Read until cancelled, or until the bar of that number."""
        newest = -1
        while True:
            try:
                text = await client.recv()
            except ConnectionClosed:
                self.closed += 1
                return
            now = time.monotonic()
            message = msgspec.json.decode(text, type=_Message)
            if message.type == "bar" and message.bar is not None:
                self.waits.append(now - message.bar.volume)
            self.conflated += message.missed
            for bar in (message.bar, *message.bars[-1:]):
                newest = max(newest, -1 if bar is None else bar.ordinal)
            self.newest = max(self.newest, newest)
            if last is not None and newest >= last:
                return


async def _greeted(address: str, token: str, reads: bool) -> ClientConnection:
    """Return a client that knows the history, or one whose small buffers are full of it."""
    own = socket.socket()
    if not reads:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
    own.setblocking(False)
    host, port = address.removeprefix("ws://").partition("/")[0].rsplit(":", 1)
    await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
    client = await connect(
        address,
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
        sock=own,
        compression=None,
        ping_interval=None,
        max_queue=64 if reads else 1,
        max_size=None,
        open_timeout=_PATIENCE_SECONDS,
    )
    while reads and msgspec.json.decode(await client.recv(), type=_Message).type != "snapshot":
        pass
    return client


async def _watch(url: str, token: str, readers: int, stuck: int) -> Seen:
    query = f"symbol={SYMBOL}&interval={INTERVAL}"
    address = f"{url}/api/teams/{TEAM}/streams/{STREAM}/live?{query}".replace("http", "ws", 1)
    silent = [await _greeted(address, token, reads=False) for _ in range(stuck)]
    quick, slow = _Readers(), _Readers()
    tasks = [asyncio.create_task(quick.read(await _greeted(address, token, reads=True))) for _ in range(readers)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.wait_for(
        asyncio.gather(*(slow.read(client, quick.newest) for client in silent)), _PATIENCE_SECONDS / 2
    )
    return Seen(quick.waits, slow.conflated, quick.conflated, quick.closed + slow.closed)


if __name__ == "__main__":
    seen = asyncio.run(_watch(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    sys.stdout.write(msgspec.json.encode(seen).decode())
    sys.stdout.flush()
