"""The generic WebSocket adapter and the runtime: repeats, gaps, order, silence, refusal, bad messages, kills."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from lit.streams.errors import UserError
from lit.streams.live_health import read_health
from lit.streams.tick import Watermark
from lit.streams.workspace import Workspace
from tests.feeds import FIELDS, add_stream, blocks, gaps, numbers, provider, recorded, running, trade, until

pytestmark = pytest.mark.kafka
TEAM = "sockets"


async def idle(socket: ServerConnection) -> None:
    await socket.wait_closed()


async def test_repeats_are_dropped_late_ones_taken_and_holes_marked(kafka: str, tmp_path: Path) -> None:
    async def chaos(socket: ServerConnection, _: int) -> None:
        assert json.loads(await socket.recv()) == {"subscribe": "trades", "key": "s3cret"}
        await socket.send(json.dumps({"type": "status"}))
        for number in (1, 2, 2, 4, 3, 5, 9, 10, 1):
            await socket.send(trade(number))
        await idle(socket)

    workspace = Workspace(tmp_path, TEAM)
    async with provider(chaos) as url:
        subscribe = json.dumps({"subscribe": "trades", "key": "{token}"})
        given = {"fields": FIELDS, "only": {"type": "trade"}, "numbering": "contiguous", "token": "s3cret"}
        add_stream(workspace, "chaos", "websocket", url=url, subscribe=subscribe, **given)
        async with running(workspace, "chaos", kafka) as task:
            health = await until(workspace, "chaos", lambda health: health.gaps == 1, task)
    items = recorded(kafka, TEAM, "chaos")["AAA"]
    assert numbers(items) == [1, 2, 4, 3, 5, 9, 10]
    assert [(gap.reason, gap.missed) for gap in gaps(items)] == [("sequence", 3)]
    assert (health.ticks, health.repeats) == (7, 2)
    assert health.recent_gaps[0].missed == 3 and health.recent_gaps[0].symbol == "AAA"


async def test_a_lost_connection_is_made_again_and_only_what_was_missed_is_a_gap(kafka: str, tmp_path: Path) -> None:
    async def breaking(socket: ServerConnection, connection: int) -> None:
        first = (1, 4, 20)[min(connection, 2)]  # the second begins where the first ended, the third misses some
        for number in range(first, first + 5):
            await socket.send(trade(number))
        if connection == 2:
            await idle(socket)
        await (socket.close() if connection else socket.transport.abort())  # type: ignore[func-returns-value, misc]

    async def numberless(socket: ServerConnection, connection: int) -> None:
        await socket.send(trade(connection, n=None))
        await (asyncio.sleep(0.1) if connection < 2 else idle(socket))

    workspace = Workspace(tmp_path, TEAM)
    async with provider(breaking) as url, provider(numberless) as other:
        add_stream(workspace, "breaks", "websocket", url=url, fields=FIELDS, numbering="contiguous")
        add_stream(workspace, "bare", "websocket", url=other, fields={**FIELDS, "Seq. No.": "data.x"})
        async with running(workspace, "breaks", kafka) as one, running(workspace, "bare", kafka) as two:
            await until(workspace, "breaks", lambda health: health.gaps == 1, one)
            health = await until(workspace, "bare", lambda health: health.gaps == 2, two)
    items = recorded(kafka, TEAM, "breaks")["AAA"]
    assert set(numbers(items)) == {*range(1, 9), *range(20, 25)} and len(numbers(items)) == 13
    assert [(gap.reason, gap.missed) for gap in gaps(items)] == [("sequence", 11)]
    bare = recorded(kafka, TEAM, "bare")["AAA"]
    assert [(gap.reason, gap.missed) for gap in gaps(bare)] == [("reconnect", None)] * 2
    assert health.reconnects == 2 and sum(len(block) for block in blocks(bare)) == 3


async def test_silence_ends_a_connection_and_a_heartbeat_keeps_it(kafka: str, tmp_path: Path) -> None:
    pinged = asyncio.Event()

    async def silent(socket: ServerConnection, connection: int) -> None:
        await socket.send(trade(connection))
        if connection:
            assert await socket.recv() == "ping"
            pinged.set()
            for _ in range(15):
                await socket.send("[]")
                await asyncio.sleep(0.1)
        await idle(socket)

    workspace = Workspace(tmp_path, TEAM)
    async with provider(silent) as url:
        given = {"fields": FIELDS, "ping": "ping", "ping_seconds": 0.1}
        add_stream(workspace, "silent", "websocket", url=url, heartbeat=0.6, **given)
        async with running(workspace, "silent", kafka) as task:
            await until(workspace, "silent", lambda health: "nothing came" in (health.last_error or ""), task)
            await asyncio.wait_for(pinged.wait(), 20)
            await asyncio.sleep(1.2)  # twice the limit: heartbeats alone hold it
            assert (health := read_health(workspace, "silent")) is not None and health.reconnects == 1


async def test_a_quiet_market_closes_its_minute_by_the_clock(kafka: str, tmp_path: Path) -> None:
    last = (time.time_ns() // 60_000_000_000 * 60 + 59) * 1000 + 990 - 3_600_000  # a feed delayed by an hour or so

    async def quiet(socket: ServerConnection, _: int) -> None:
        await socket.send(trade(1, T=last))
        await idle(socket)

    workspace = Workspace(tmp_path, TEAM)
    async with provider(quiet) as url:
        add_stream(workspace, "quiet", "websocket", url=url, fields=FIELDS, grace=0.1)
        async with running(workspace, "quiet", kafka) as task:
            await until(workspace, "quiet", lambda health: health.ticks == 1, task)
            await asyncio.sleep(0.5)  # the minute ends 10 ms after its trade, and 100 ms of grace later the bar is over
    _, mark = recorded(kafka, TEAM, "quiet")["AAA"]
    assert isinstance(mark, Watermark) and mark.gap is None
    assert mark.timestamp == (last // 60_000 + 1) * 60_000 * 1_000_000


async def test_refused_access_is_one_sentence_without_the_secret_and_without_another_try(
    kafka: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    def gate(_: ServerConnection, request: Request) -> Response | None:
        nonlocal tries
        tries += 1
        return None if "no-way" not in request.path else _.respond(401, "no")

    async def says_no(socket: ServerConnection, _: int) -> None:
        await socket.send('{"error": "auth failed for key no-secret"}')
        await idle(socket)

    async def policy(socket: ServerConnection, _: int) -> None:
        await socket.close(1008, "not yours")

    workspace = Workspace(tmp_path, TEAM)
    async with provider(policy) as url:
        add_stream(workspace, "policy", "websocket", url=url, fields=FIELDS)
        with pytest.raises(UserError, match="refuses access: not yours"):
            async with running(workspace, "policy", kafka) as task:
                await task
    async with provider(says_no, process_request=gate) as url:
        add_stream(workspace, "http", "websocket", url=url + "/?key={token}", fields=FIELDS, token="no-way")
        add_stream(workspace, "said", "websocket", url=url, fields=FIELDS, refused="auth failed", token="no-secret")
        for name, expected in (("http", "HTTP 401"), ("said", "auth failed")):
            with caplog.at_level(logging.DEBUG), pytest.raises(UserError, match=expected) as refused:
                async with running(workspace, name, kafka) as task:
                    await task
            assert "no-way" not in str(refused.value) and "no-secret" not in str(refused.value)
            health = read_health(workspace, name)
            assert health is not None and health.state == "failed" and "no-secret" not in str(health)
    assert tries == 2


async def test_bad_messages_go_into_quarantine_and_the_rest_is_taken(kafka: str, tmp_path: Path) -> None:
    bad = [
        "no json", trade(2, p="abc"), trade(3, p="-1"), trade(4, q=-1), trade(5, s=""), trade(6, T=None),
        trade(7, p="nan"), trade(8, T=int(time.time() * 1000) + 3_600_000),
    ]  # fmt: skip

    async def messy(socket: ServerConnection, _: int) -> None:
        for text in (trade(1), *bad, trade(9)):
            await socket.send(text)
        await idle(socket)

    workspace = Workspace(tmp_path, TEAM)
    async with provider(messy) as url:
        add_stream(workspace, "messy", "websocket", url=url, fields=FIELDS)
        async with running(workspace, "messy", kafka) as task:
            health = await until(workspace, "messy", lambda health: health.ticks == 2, task)
    assert sum(health.rejects.values()) == len(bad) and health.rejects["timestamp is in the future"] == 1
    assert numbers(recorded(kafka, TEAM, "messy")["AAA"]) == [1, 9]
    kept = (workspace.root / "logs/quarantine/messy.stream.csv").read_text().splitlines()
    assert len(kept) == len(bad) and "no json" in kept[0]


async def test_two_processes_cannot_feed_one_stream(kafka: str, tmp_path: Path) -> None:
    async def quiet(socket: ServerConnection, _: int) -> None:
        await idle(socket)

    workspace = Workspace(tmp_path, TEAM)
    async with provider(quiet) as url:
        add_stream(workspace, "twice", "websocket", url=url, fields=FIELDS)
        async with running(workspace, "twice", kafka) as task:
            await until(workspace, "twice", lambda health: health.state == "live", task)
            with pytest.raises(UserError, match="another process"):
                async with running(workspace, "twice", kafka) as second:
                    await second


@pytest.mark.fault
async def test_killed_at_random_moments_no_index_is_missing_or_twice_and_each_hole_is_marked(
    kafka: str, tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, counter, last = random.Random(seed), itertools.count(1), 0
    deadline = time.monotonic() + 120

    async def steady(socket: ServerConnection, _: int) -> None:
        nonlocal last
        for number in counter:
            last = number
            await socket.send(trade(number, symbol="AAA"))
            await socket.send(trade(number, symbol="BBB"))
            await asyncio.sleep(0.001)

    workspace = Workspace(tmp_path, TEAM)
    command = [sys.executable, "-m", "lit.cli", "worker", "stream", "--team", TEAM, "--name", "killed"]
    environment = {**os.environ, "LIT_DATA": str(tmp_path), "LIT_KAFKA": kafka}
    async with provider(steady) as url:
        add_stream(workspace, "killed", "websocket", url=url, fields=FIELDS, numbering="contiguous")
        for _ in range(3):
            process = subprocess.Popen(command, env=environment)
            before = last
            while last < before + 100:
                assert process.poll() is None and time.monotonic() < deadline
                await asyncio.sleep(0.02)
            await asyncio.sleep(chance.random() * 1.5)
            process.send_signal(signal.SIGKILL)
            process.wait()
        process = subprocess.Popen(command, env=environment)
        await until(workspace, "killed", lambda health: health.pid == process.pid and health.gaps >= 2)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            await asyncio.sleep(0.05)
        assert process.returncode == 0
    for symbol, items in recorded(kafka, TEAM, "killed").items():
        found = numbers(items)
        assert len(set(found)) == len(found), symbol
        missing = max(found) - min(found) + 1 - len(found)
        marked = gaps(items)
        assert sum(gap.missed or 0 for gap in marked) == missing > 0
