"""Live features of a stream: each vector once through a kill -9, and to the byte what a backfill makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.api.supervisor import Supervisor
from lit.features.engine import FeatureEngine
from lit.features.library import load_features, save_feature
from lit.features.schema import Schema, save_schema
from lit.processors.delivery import read_partition
from lit.processors.live_features import live_features
from lit.processors.verify import verify_features
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.live import AdapterName, Stream, save_stream
from lit.streams.store_open import open_store
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

NAMES = ["bars", "per_minute", "up"]
SYMBOLS = ("IBM.N", "BAC.N")


def published(kafka: str, team: str = "live") -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for partition in range(topics.PARTITIONS):
        for value in read_partition(kafka, topics.features(team, "feed", "small").name, partition):
            vector = json.loads(value)
            found.setdefault(vector["symbol"], []).append(vector)
    return found


def send(kafka: str, blocks: list[TickBlock], team: str = "live") -> None:
    sender = producer(kafka)
    for block in blocks:
        message = encode(block)
        name = topics.ticks(team, "feed").name
        sender.produce(name, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0


@pytest.mark.kafka
@pytest.mark.fault
def test_vectors_come_once_each_through_a_kill_and_equal_a_backfill(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "live")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "bars", "unit_bar", {"count": 5, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    save_schema(workspace, Schema("small", [str(SAMPLES / "IBM.N_20131007.csv.gz")], NAMES))
    config = live_features(workspace, "feed", "small", kafka)
    config.create_topics()
    tapes = {symbol: real_ticks(symbol, 1).slice(0, 20_000) for symbol in SYMBOLS}
    blocks = [tape.slice(at, at + 256) for at in range(0, 20_000, 256) for tape in tapes.values()]
    expected = {
        symbol: FeatureEngine(symbol, load_features(workspace, NAMES)).feed(tapes[symbol]) for symbol in SYMBOLS
    }
    total = sum(map(len, expected.values()))
    assert total > 300

    command = [sys.executable, "-m", "lit.cli", "worker", "features", "--stream", "feed", "--schema", "small"]
    env = {**os.environ, "LIT_DATA": str(tmp_path), "LIT_KAFKA": kafka}
    log = tmp_path / "worker.log"
    send(kafka, blocks[: len(blocks) // 2])
    for kill in (True, False):
        with log.open("ab") as out:
            worker = subprocess.Popen([*command, "--team", "live"], env=env, stdout=out, stderr=out)
        try:
            wanted, deadline = (total // 4 if kill else total), time.monotonic() + 120
            while sum(map(len, published(kafka).values())) < wanted:
                assert worker.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.1)
        finally:
            worker.kill()
            worker.wait()
        if kill:
            send(kafka, blocks[len(blocks) // 2 :])
    for symbol, vectors in published(kafka).items():
        samples = expected[symbol]
        assert [vector["ordinal"] for vector in vectors] == list(range(len(samples)))
        assert [vector["index"] for vector in vectors] == samples.index.tolist()
        for name, column in samples.values.items():
            live = np.array([vector["features"][name] for vector in vectors])  # type: ignore[index]
            assert live.tobytes() == column.tobytes()
    verdict = verify_features(config)
    assert verdict.compared == total and not verdict.differences


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.kafka
@pytest.mark.fault
def test_the_server_keeps_the_features_that_a_streams_file_names_published(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "kept")
    path = str(SAMPLES / "IBM.N_20131007.csv.gz")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_schema(workspace, Schema("small", [path], ["per_minute"]))
    save_stream(workspace, "feed", Stream(AdapterName("replay"), {"paths": [path]}, enabled=False))
    env = {**os.environ, "LIT_DATA": str(tmp_path), "LIT_KAFKA": kafka}

    def wanted(schema: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lit.cli", "stream", "set", "feed", "--features", schema, "--team", "kept"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    wrong = wanted("nonesuch")
    assert wrong.returncode == 2 and "no schema 'nonesuch'" in wrong.stderr
    assert wanted("small").returncode == 0
    config = live_features(workspace, "feed", "small", kafka)
    config.create_topics()
    tape = real_ticks("IBM.N", 1).slice(0, 20_000)
    blocks = [tape.slice(at, at + 256) for at in range(0, 20_000, 256)]
    expected = FeatureEngine("IBM.N", load_features(workspace, ["per_minute"])).feed(tape).index.tolist()

    def count() -> int:
        return sum(map(len, published(kafka, "kept").values()))

    with open_store(tmp_path, None) as stores:
        services = Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)
        services.config.private.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(
            lambda: [spec for spec in desired_workers(services) if spec.role == "features"],
            services.config.private,
            env,
        )
        supervisor.start()
        try:
            send(kafka, blocks[:40], "kept")
            until(lambda: count() > 50)
            (worker,) = supervisor.statuses()
            assert worker.name == "kept/features.feed.small" and worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            send(kafka, blocks[40:], "kept")
            until(lambda: count() >= len(expected))
            (worker,) = supervisor.statuses()
            assert worker.restarts == 1 and worker.last_error is not None and "signal 9" in worker.last_error
            assert wanted("").returncode == 0
            until(lambda: not supervisor.statuses())
        finally:
            supervisor.stop()
    vectors = published(kafka, "kept")["IBM.N"]
    assert [vector["index"] for vector in vectors] == expected
