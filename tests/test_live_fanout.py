"""Hundreds of WebSockets on one server: who reads gets every bar, who does not is conflated and stalls nobody."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from lit.api.config import ApiConfig
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.streams import topics
from lit.streams.records import Bar, encode_json
from lit.streams.store_open import open_store
from tests.test_api_live import Server, bars_until, tape

READERS, STUCK, BARS, BURST = 240, 60, 900, 30


async def read_all(client: ClientConnection, readers_at: list[int], number: int) -> list[int]:
    """Return the ordinals of the bars that came, one by one; fail where the server left any to a snapshot."""
    found: list[int] = []
    while len(found) < BARS:
        message = json.loads(await client.recv())
        assert message["type"] in ("hello", "snapshot", "bar", "forming", "heartbeat"), message
        found += [bar["ordinal"] for bar in message.get("bars", [])]
        if message["type"] == "bar":
            found.append(message["bar"]["ordinal"])
        readers_at[number] = len(found)
    return found


async def wake(client: ClientConnection) -> list[dict[str, Any]]:
    """Return what a client gets that reads at last, up to the newest bar."""
    messages: list[dict[str, Any]] = []
    while True:
        messages.append(json.loads(await client.recv()))
        bars = messages[-1].get("bars") or [messages[-1].get("bar") or {"ordinal": -1}]
        if bars[-1]["ordinal"] == BARS - 1:
            return messages


async def clients_of(url: str, bearer: dict[str, str], count: int, **options: Any) -> list[ClientConnection]:
    address = f"{url}/api/teams/crowd/streams/tape/live?symbol=IBM.N".replace("http", "ws", 1)

    async def one() -> ClientConnection:
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.get("buffer", 65_536))
        own.setblocking(False)
        host, _, port = url.removeprefix("http://").partition(":")
        await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
        return await connect(
            address,
            additional_headers=bearer,
            proxy=None,
            sock=own,
            max_queue=options.get("queue", 64),
            compression=None,
            ping_interval=None,
            open_timeout=60,
        )

    return [await one() for _ in range(count)]


def publish(server: Server, bars: list[Bar]) -> None:
    topic = topics.bars("crowd", "tape", "1minute")
    topics.create_topics(server.services.config.bootstrap, topic)
    server.producer.produce(topic.name, encode_json(bars), b"IBM.N")
    assert server.producer.flush(30) == 0


@pytest.mark.kafka
async def test_readers_get_every_bar_beside_sixty_clients_that_never_read(kafka: str, tmp_path: Path) -> None:
    (one, *_) = bars_until(3000)
    bars = [msgspec.structs.replace(one, ordinal=n, first_index=10 * n, last_index=10 * n + 9) for n in range(BARS)]
    with open_store(tmp_path, None) as stores, listening("127.0.0.1", 0) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # else the kernel keeps megabytes of each
        services = Services(ApiConfig(tmp_path, kafka), stores)
        with serving(services, listener) as url:
            server = Server(url, services)
            server.ticks("crowd", tape().slice(0, 100))
            publish(server, bars[:BURST])
            stuck = await clients_of(url, server.bearer, STUCK, buffer=4096, queue=1)
            readers = await clients_of(url, server.bearer, READERS)
            at = [0] * READERS
            reading = [asyncio.create_task(read_all(client, at, n)) for n, client in enumerate(readers)]
            for first in range(BURST, BARS, BURST):
                publish(server, bars[first : first + BURST])
                while min(at) < first and not any(task.done() for task in reading):
                    await asyncio.sleep(0.01)
            found = await asyncio.gather(*reading)
            assert all(ordinals == list(range(BARS)) for ordinals in found)
            for messages in await asyncio.gather(*map(wake, stuck)):
                kinds = [message["type"] for message in messages]
                assert "lagged" in kinds and len(messages) < BARS  # merged, not queued
                last = messages[len(kinds) - 1 - kinds[::-1].index("lagged")]
                assert last["missed"] > 0
            text = services.metrics.render().decode()
            assert f"lit_ws_clients {READERS + STUCK}.0" in text
            for client in (*stuck, *readers):
                client.transport.abort()
