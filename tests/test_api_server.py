"""The server as a process: found by others, ended in order, its mistakes told in a sentence."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from lit.api.server import running
from lit.settings import Settings
from lit.streams import topics
from lit.streams.broker import EmbeddedBroker
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.store_open import open_store, running_server
from lit.streams.tick import TickBlock
from tests.tape import real_ticks

LIT = [sys.executable, "-c", "import typer; from lit.cli import app, main, up\n"
       "'up' in {c.name for c in app.registered_commands} or up.register(app)\nmain()"]  # fmt: skip


def environment(kafka: str, data: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "LIT_KAFKA": kafka, "LIT_DATA": str(data), "LIT_PORT": "0", **more}


@contextmanager
def up(kafka: str | None, data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    env = environment(kafka or "", data)
    if kafka is None:
        del env["LIT_KAFKA"]
    log = data / "up.log"
    with log.open("a") as err:
        process = subprocess.Popen([*LIT, "up", *options], env=env, stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()[-3000:]
        yield process, line
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.kafka
def test_lit_up_is_found_by_a_second_and_by_status_and_leaves_nothing_behind(kafka: str, tmp_path: Path) -> None:
    with up(kafka, tmp_path, "--no-workers") as (process, line):
        found = running_server(tmp_path)
        assert found is not None
        url, token = found
        assert f"{url}/?token={token}" in line
        assert httpx.get(f"{url}/api/health").json()["status"] == "ok"
        env = environment(kafka, tmp_path)
        second = subprocess.run([*LIT, "up"], env=env, capture_output=True, text=True, timeout=60)
        assert second.returncode == 0 and "already" in second.stdout and url in second.stdout
        status = subprocess.run([*LIT, "status", "--json"], env=env, capture_output=True, text=True, timeout=60)
        assert json.loads(status.stdout)["broker"] == {"bootstrap": kafka, "reachable": True}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert running_server(tmp_path) is None and not (tmp_path / ".lit/server.json").exists()
    status = subprocess.run([*LIT, "status"], env=env, capture_output=True, text=True, timeout=60)
    assert status.returncode == 1 and "lit up" in status.stderr and "Traceback" not in status.stderr


@pytest.mark.kafka
def test_a_taken_port_is_a_sentence_with_exit_code_2(kafka: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*LIT, "up"], env=environment(kafka, tmp_path, LIT_PORT=port), capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert port in done.stderr and "LIT_PORT" in done.stderr and "Traceback" not in done.stderr


def publish(bootstrap: str, topic: topics.Topic, tape: TickBlock) -> None:
    topics.create_topics(bootstrap, topic)
    sender = producer(bootstrap)
    for at in range(0, len(tape), 5000):
        message = encode(tape.slice(at, at + 5000))
        sender.produce(topic.name, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0


@pytest.mark.kafka
def test_ticks_that_arrive_are_stored_and_become_bars_also_after_the_broker_was_killed(tmp_path: Path) -> None:
    tape = real_ticks("IBM.N", 1)
    bars = topics.bars("whole", "tape", "1minute")
    with running(Settings(data=tmp_path, kafka=None, port=0)) as server:
        broker = json.loads((tmp_path / ".kafka/broker.json").read_text())["pid"]
        publish(server.bootstrap, topics.ticks("whole", "tape"), tape)
        client = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"})
        deadline = time.monotonic() + 90
        while True:
            workers = client.get("/api/status").json()["workers"]
            listed = client.get("/api/topics")
            counts = {entry["name"]: entry["messages"] for entry in listed.json()} if listed.is_success else {}
            with open_store(tmp_path, None) as stores:  # through the server, as the sink does it
                stored = stores.team("whole").count("tape")
            if stored == len(tape) and counts.get(bars.name, 0):
                break
            assert time.monotonic() < deadline, (stored, counts, workers)
            time.sleep(0.3)
        mine = [worker for worker in workers if worker["name"].startswith("whole/")]
        assert {worker["role"] for worker in mine} == {"bars", "sink"}
        os.kill(broker, signal.SIGKILL)  # it comes back at its address, and all go on
        deadline = time.monotonic() + 90
        while json.loads((tmp_path / ".kafka/broker.json").read_text())["pid"] == broker:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert EmbeddedBroker(tmp_path).start() == server.bootstrap
        publish(server.bootstrap, topics.ticks("whole", "tape"), real_ticks("BAC.N", 1))
        while client.get("/api/teams/whole/streams/tape/bars?symbol=BAC.N").json().get("bars", []) == []:
            assert time.monotonic() < deadline, client.get("/api/status").json()["workers"]
            time.sleep(0.3)
        workers += client.get("/api/status").json()["workers"]
        (stream,) = client.get("/api/teams/whole/streams").json()
        assert stream["symbols"] == ["BAC.N", "IBM.N"] and stream["status"] in ("running", "starting")
    assert not any(psutil.pid_exists(worker["pid"]) for worker in workers if worker["pid"])


@pytest.mark.kafka
@pytest.mark.fault
@pytest.mark.slow
def test_a_killed_server_leaves_no_workers_and_the_next_goes_on_where_it_was(tmp_path: Path) -> None:
    tape = real_ticks("IBM.N", 1)
    half = len(tape) // 2
    first: list[int] = []
    for part in (tape.slice(0, half), tape.slice(half, len(tape))):
        with up(None, tmp_path) as (process, _):
            found = running_server(tmp_path)
            assert found is not None
            client = httpx.Client(base_url=found[0], headers={"Authorization": f"Bearer {found[1]}"}, timeout=60)
            broker = client.get("/api/status").json()["broker"]["bootstrap"]
            publish(broker, topics.ticks("killed", "tape"), part)
            deadline = time.monotonic() + 90
            with open_store(tmp_path, None) as stores:
                while (stored := stores.team("killed").count("tape")) < part.next_index // (1 if first else 2):
                    assert time.monotonic() < deadline, (stored, client.get("/api/status").json()["workers"])
                    time.sleep(0.2)
            if not first:
                first = [worker["pid"] for worker in client.get("/api/status").json()["workers"] if worker["pid"]]
                process.kill()
                process.wait()
                _, alive = psutil.wait_procs([psutil.Process(p) for p in first if psutil.pid_exists(p)], timeout=10)
                assert all(worker.status() == psutil.STATUS_ZOMBIE for worker in alive)
            else:
                assert stored == len(tape)
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0
    assert len(first) == 2


@pytest.mark.kafka
def test_a_start_while_another_ends_waits_for_it(kafka: str, tmp_path: Path) -> None:
    (tmp_path / ".lit").mkdir()
    with (tmp_path / ".lit/server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ending = threading.Timer(0.5, fcntl.flock, (lock, fcntl.LOCK_UN))
        ending.start()
        with running(Settings(data=tmp_path, kafka=kafka, port=0), supervise=False) as server:
            assert server.started_here
            with running(Settings(data=tmp_path, kafka=kafka, port=0)) as second:
                assert (second.url, second.started_here) == (server.url, False)
            assert httpx.get(f"{server.url}/api/health").json()["status"] == "ok"
        ending.join()
