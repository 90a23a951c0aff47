"""The replay adapter: files as live, resumable, with pause, seek, loop and speed while it runs."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lit.streams.errors import UserError
from lit.streams.live import AdapterName, Stream, load_stream, save_stream
from lit.streams.live_health import read_health
from lit.streams.live_run import run_stream
from lit.streams.tick import Watermark, iso
from lit.streams.workspace import Workspace
from tests.feeds import blocks, recorded, running, until
from tests.tape import SAMPLES, SECOND, real_ticks

pytestmark = pytest.mark.kafka
START = 1_381_154_400 * SECOND  # Monday 7 October 2013, 14:00 UTC
WEEK = 7 * 86_400 * SECOND


def small_file(path: Path, seconds: int = 100) -> Path:
    rows = "".join(
        f"X.N,Market Price,{iso(START + second * SECOND)},-4,Trade,{100 + second},1\n" for second in range(seconds)
    )
    path.write_bytes(gzip.compress(("#RIC,Domain,Date-Time,GMT Offset,Type,Price,Volume\n" + rows).encode()))
    return path


def replay_of(workspace: Workspace, name: str, *paths: Path, **parameters: object) -> None:
    save_stream(workspace, name, Stream(AdapterName("replay"), {"paths": [str(p) for p in paths], **parameters}))


def change(workspace: Workspace, name: str, **parameters: object) -> None:
    stream = load_stream(workspace, name)
    save_stream(workspace, name, Stream(stream.adapter, {**stream.parameters, **parameters}))


async def test_files_go_out_whole_and_a_second_run_sends_nothing(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "replayed")
    files = [SAMPLES / f"{symbol}_20131007.csv.gz" for symbol in ("IBM.N", "BAC.N")]
    replay_of(workspace, "whole", *files, speed=0)
    for _ in range(2):
        await run_stream(workspace, "whole", kafka, asyncio.Event())
    for symbol, items in recorded(kafka, "replayed", "whole").items():
        tape = real_ticks(symbol, 1)
        joined = np.concatenate([block.timestamp for block in blocks(items)])
        assert joined.tobytes() == tape.timestamp.tobytes()
        assert any(isinstance(item, Watermark) for item in items)
    health = read_health(workspace, "whole")
    assert health is not None and health.state == "ended" and health.gaps == 0


async def test_a_paused_replay_stands_still_and_goes_on_where_it_was(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "paused")
    replay_of(workspace, "p", small_file(tmp_path / "x.csv.gz"), speed=50, paused=True)
    async with running(workspace, "p", kafka) as task:
        await until(workspace, "p", lambda health: health.state == "paused", task)
        before = read_health(workspace, "p")
        await asyncio.sleep(1.2)
        after = read_health(workspace, "p")
        assert before is not None and after is not None and before.ticks == after.ticks
        change(workspace, "p", paused=False, speed=0)
        await task
    ticks = [stamp for block in blocks(recorded(kafka, "paused", "p")["X.N"]) for stamp in block.timestamp.tolist()]
    assert ticks == [START + second * SECOND for second in range(100)]


async def test_seeks_and_loops_go_on_in_time_with_a_gap_marked(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "seek")
    replay_of(workspace, "s", small_file(tmp_path / "x.csv.gz"), speed=0.001, start=iso(START + 10 * SECOND))
    forward, back = iso(START + 90 * SECOND), f"{iso(START + 20 * SECOND)}#2"
    async with running(workspace, "s", kafka) as task:
        await until(workspace, "s", lambda health: health.ticks >= 10, task)
        change(workspace, "s", seek=forward)
        await until(workspace, "s", lambda health: health.gaps == 1 and health.ticks >= 11, task)
        change(workspace, "s", seek=back, speed=0)
        await task
    change(workspace, "s", loop=True)  # a restarted one does no seek twice; it ends its leg and begins again
    async with running(workspace, "s", kafka) as task:
        await until(workspace, "s", lambda health: health.gaps >= 1 and health.state == "live", task)
    items = recorded(kafka, "seek", "s")["X.N"]
    reasons = [item.gap.reason for item in items if isinstance(item, Watermark) and item.gap]
    assert reasons[:3] == ["seek", "seek", "loop"]
    ticks = [(stamp - START) // SECOND for block in blocks(items) for stamp in block.timestamp.tolist()]
    week = WEEK // SECOND
    begin = ticks.index(90)
    assert ticks[:begin] == list(range(begin)) and 10 <= begin < 13
    legs = [90], [week + second for second in range(20, 100)], [2 * week + second for second in range(100)]
    assert ticks[begin : begin + 181] == [second for leg in legs for second in leg]


async def test_other_files_are_refused_and_wrong_times_are_told(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "other")
    replay_of(workspace, "o", small_file(tmp_path / "x.csv.gz", 5), speed=0)
    await run_stream(workspace, "o", kafka, asyncio.Event())
    replay_of(workspace, "o", small_file(tmp_path / "y.csv.gz", 6), speed=0)
    with pytest.raises(UserError, match="other files"):
        await run_stream(workspace, "o", kafka, asyncio.Event())
    replay_of(workspace, "o", tmp_path / "x.csv.gz", speed=0, seek="noon")
    with pytest.raises(UserError, match="noon"):
        await run_stream(workspace, "o", kafka, asyncio.Event())


@pytest.mark.fault
async def test_killed_at_random_moments_a_replay_sends_each_tick_once(kafka: str, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance, workspace = random.Random(seed), Workspace(tmp_path, "killedreplay")
    files = [SAMPLES / f"{symbol}_20131007.csv.gz" for symbol in ("IBM.N", "BAC.N")]
    replay_of(workspace, "k", *files, speed=500, start="2013-10-07T13:35:00Z")
    command = [sys.executable, "-m", "lit.cli", "worker", "stream", "--team", "killedreplay", "--name", "k"]
    environment = {**os.environ, "LIT_DATA": str(tmp_path), "LIT_KAFKA": kafka}
    for _ in range(2):
        process = subprocess.Popen(command, env=environment)
        await until(workspace, "k", lambda health, pid=process.pid: health.pid == pid and health.ticks > 0)  # type: ignore[misc]
        await asyncio.sleep(chance.random() * 2)
        assert process.poll() is None
        process.kill()
        process.wait()
    change(workspace, "k", speed=0)
    await run_stream(workspace, "k", kafka, asyncio.Event())
    for symbol, items in recorded(kafka, "killedreplay", "k").items():
        tape = real_ticks(symbol, 1)
        for name in ("timestamp", "price", "volume"):
            joined = np.concatenate([getattr(block, name) for block in blocks(items)])
            assert joined.tobytes() == getattr(tape, name).tobytes()
