"""Live features of a stream: each vector once through a kill -9, and to the byte what a backfill makes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.api.supervisor import Supervisor
from lit.features.engine import FeatureEngine
from lit.features.library import load_features, save_feature, save_script
from lit.features.schema import Schema, load_schema, save_schema
from lit.processors.delivery import read_partition
from lit.processors.feature_versions import wanted_version
from lit.processors.job import FrozenJob, freeze, logs_folder, new_logs, write_job
from lit.processors.live_features import live_features
from lit.processors.progress import write_status
from lit.processors.verify import verify_features
from lit.streams import topics
from lit.streams.clients import partitions_of, producer
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
    topic = topics.features(team, "feed", "small").name
    for partition in partitions_of(kafka, topic):
        for value in read_partition(kafka, topic, partition):
            vector = json.loads(value)
            found.setdefault(vector["symbol"], []).append(vector)
    return found


def morning(symbol: str) -> tuple[TickBlock, list[TickBlock]]:
    """A day's first 20,000 ticks, whole and in blocks."""
    tape = real_ticks(symbol, 1).slice(0, 20_000)
    return tape, [tape.slice(at, at + 256) for at in range(0, 20_000, 256)]


def send(kafka: str, blocks: list[TickBlock], team: str = "live") -> None:
    sender = producer(kafka)
    for block in blocks:
        message = encode(block)
        name = topics.ticks(team, "feed").name
        sender.produce(name, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0


@pytest.mark.kafka
def test_features_that_no_stream_publishes_are_not_compared_in_silence(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "unpublished")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_schema(workspace, Schema("small", [str(SAMPLES / "IBM.N_20131007.csv.gz")], ["per_minute"]))
    command = [
        sys.executable,
        "-m",
        "lit.cli",
        "verify",
        "parity",
        "feed",
        "--schema",
        "small",
        "--team",
        "unpublished",
    ]
    environment = {**os.environ, "LIT_DATA": str(tmp_path), "LIT_KAFKA": kafka}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2 and "lit stream set feed --features small" in done.stderr, done.stderr


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
    verdict = verify_features(workspace, config)
    assert verdict.compared == total and not verdict.differences


def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextlib.contextmanager
def supervised(data: Path, kafka: str) -> Iterator[Supervisor]:
    """Supervise feature workers as a server does."""
    env = {**os.environ, "LIT_DATA": str(data), "LIT_KAFKA": kafka}
    with open_store(data, None) as stores:
        services = Services(ApiConfig(data, kafka, data / "static"), stores)
        services.config.private.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(
            lambda: [spec for spec in desired_workers(services) if spec.role == "features"],
            services.config.private,
            env,
        )
        supervisor.start()
        try:
            yield supervisor
        finally:
            supervisor.stop()


def built(workspace: Workspace) -> int:
    """Leave behind what a complete build of the schema does, but for its data."""
    schema, logs = load_schema(workspace, "small"), new_logs(workspace)
    features = freeze(load_features(workspace, schema.features))
    write_job(logs, FrozenJob(int(logs.name), schema, {}, "", features, [], {}))
    write_status(logs, "complete")
    return int(logs.name)


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
    tape, blocks = morning("IBM.N")
    expected = FeatureEngine("IBM.N", load_features(workspace, ["per_minute"])).feed(tape).index.tolist()

    def count() -> int:
        return sum(map(len, published(kafka, "kept").values()))

    with supervised(tmp_path, kafka) as supervisor:
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
    vectors = published(kafka, "kept")["IBM.N"]
    assert [vector["index"] for vector in vectors] == expected


@pytest.mark.kafka
@pytest.mark.fault
def test_a_newer_build_s_features_take_over_behind_what_is_published(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "newer")
    path = str(SAMPLES / "IBM.N_20131007.csv.gz")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "bars", "unit_bar", {"count": 5, "size": 1, "unit": "minute"})
    save_schema(workspace, Schema("small", [path], ["per_minute", "bars"]))
    first = built(workspace)
    save_stream(workspace, "feed", Stream(AdapterName("replay"), {"paths": [path]}, features=["small"], enabled=False))
    live_features(workspace, "feed", "small", kafka).create_topics()
    tape, blocks = morning("IBM.N")
    expected = FeatureEngine("IBM.N", load_features(workspace, ["per_minute", "bars"])).feed(tape).index.tolist()

    def vectors() -> list[dict[str, Any]]:
        return published(kafka, "newer").get("IBM.N", [])

    with supervised(tmp_path, kafka) as supervisor:
        send(kafka, blocks[:40], "newer")
        until(lambda: len(vectors()) > 50)
        (before,) = supervisor.statuses()
        same = built(workspace)
        supervisor.wake()
        time.sleep(2)
        assert supervisor.statuses()[0].pid == before.pid  # the same features: nothing to take over
        save_feature(workspace, "bars", "unit_bar", {"count": 3, "size": 1, "unit": "minute"})
        supervisor.wake()
        time.sleep(2)
        assert supervisor.statuses()[0].pid == before.pid  # a changed feature counts once it is built
        built(workspace)
        until(lambda: supervisor.statuses()[0].pid not in (None, before.pid))
        send(kafka, blocks[40:], "newer")
        until(lambda: len(vectors()) >= len(expected))
    found = vectors()
    assert [vector["index"] for vector in found] == expected
    assert [vector["ordinal"] for vector in found] == list(range(len(expected)))
    lengths = [len(vector["features"]["bars"]) for vector in found]
    older = lengths.count(5)
    assert lengths == [5] * older + [3] * (len(expected) - older) and 50 < older < len(expected)
    assert len({vector["version"] for vector in found[:older]} | {found[-1]["version"]}) == 2
    config = live_features(workspace, "feed", "small", kafka)
    verdict = verify_features(workspace, config)
    assert verdict.compared == len(expected) and not verdict.differences and not verdict.unknown
    for number in (first, same):
        shutil.rmtree(logs_folder(workspace, number))
    assert verify_features(workspace, config).unknown == older


def test_the_wanted_version_follows_the_last_build_and_without_one_the_files(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "unbuilt")
    seen = [wanted_version(workspace, "small")]
    assert "no schema 'small'" in seen[0]

    def changes(change: Callable[[], object]) -> bool:
        change()
        seen.append(wanted_version(workspace, "small"))
        assert seen[-1] == wanted_version(workspace, "small")
        return seen[-1] not in seen[:-1]

    source = (Path(live_features.__code__.co_filename).parents[1] / "plugins/traders/scripts/per_unit.py").read_text()
    assert changes(lambda: save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})) is False
    assert changes(lambda: save_schema(workspace, Schema("small", ["x"], ["per_minute"])))
    assert changes(lambda: save_feature(workspace, "per_minute", "per_unit", {"unit": "hour"}))
    assert changes(lambda: save_script(workspace, "per_unit", f"{source}\n# edited\n"))
    assert changes(lambda: save_schema(workspace, Schema("small", ["x"], ["per_minute"], resolution=2)))
    assert changes(lambda: built(workspace))
    assert not changes(lambda: built(workspace))
    assert not changes(lambda: save_feature(workspace, "per_minute", "per_unit", {"unit": "second"}))
    assert not changes(lambda: write_status(new_logs(workspace), "running"))
    assert changes(lambda: built(workspace))
