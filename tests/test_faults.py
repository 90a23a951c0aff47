"""Kills and stops in live serving: every bar, prediction and score is there once, as in an undisturbed pass."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from lit.api.supervisor import Supervisor
from lit.api.workers import WorkerSpec
from lit.streams import topics
from lit.streams.broker import EmbeddedBroker
from tests.deployment_worker import config
from tests.fault_worker import INSIDE, bars_config
from tests.faults import check_bars, check_served, command, log_of, until, worker
from tests.market import MINUTE, Market, flowing, send, values

pytestmark = [pytest.mark.kafka, pytest.mark.fault]


def began(log: Path) -> bool:
    """Whether a deployment owns all partitions."""
    return log.exists() and log.read_text().count("begins at offset") >= topics.PARTITIONS


@pytest.mark.parametrize("role", ["bars", "deployment"])
def test_a_stopped_owner_that_wakes_up_finds_itself_fenced_and_its_successor_goes_on(
    kafka: str, market: Market, rng: random.Random, role: str
) -> None:
    name, items = f"zombie{rng.randrange(10**6)}", market.items
    recorder, served = bars_config(kafka, name), config(kafka, name)
    recorder.create_topics()
    served.create_topics()
    output = recorder.bars_topic(MINUTE) if role == "bars" else served.predictions_topics[0]
    stage = rng.choice(INSIDE)
    at = f"{stage}:{rng.randrange(8, 16) * (3 if stage == 'sent' else 1)}:SIGSTOP"
    print(f"stopped at {at}")
    log = log_of(market, f"{name}-first")
    with worker(role, kafka, market, f"{name}-first", name, at) as first:
        if role == "bars":
            send(kafka, recorder.ticks_topic, items[:60], partition=0)
            until(lambda: bool(values(kafka, output)), log)
        else:
            until(lambda: began(log), log)
            send(kafka, recorder.ticks_topic, items[:60], partition=0)
        with flowing(kafka, recorder.ticks_topic, items[60:], 0.03, partition=0):
            until(lambda: psutil.Process(first.pid).status() == psutil.STATUS_STOPPED, log)
            before = len(values(kafka, output))
            with worker(role, kafka, market, name, name):
                until(lambda: len(values(kafka, output)) >= before + 5, log_of(market, name))
                first.send_signal(signal.SIGCONT)
                assert first.wait(120) == 1, log.read_text()[-3000:]
                if role == "bars":
                    check_bars(kafka, market, name)
                else:
                    check_served(kafka, market, served)
    text = log.read_text()
    assert "was fenced" in text and "Traceback" not in text, text[-3000:]


def test_deployment_workers_come_and_go_while_ticks_flow(kafka: str, market: Market, rng: random.Random) -> None:
    name, items = f"group{rng.randrange(10**6)}", market.items
    served = config(kafka, name)
    served.create_topics()
    logs = [log_of(market, f"{name}-{number}") for number in range(3)]

    def more(count: int) -> None:
        goal = len(values(kafka, served.predictions_topics[0])) + count
        until(lambda: len(values(kafka, served.predictions_topics[0])) >= goal, logs[0])

    with worker("deployment", kafka, market, f"{name}-0", name) as first:
        until(lambda: began(logs[0]), logs[0])
        with flowing(kafka, served.ticks_topic, items[:-80], 0.05) as flow:
            more(1)
            with worker("deployment", kafka, market, f"{name}-1", name) as second:
                until(lambda: "begins at offset" in logs[1].read_text(), logs[1])
                more(3)
                second.send_signal(signal.SIGTERM)
                assert second.wait(120) == 0, logs[1].read_text()[-3000:]
            with worker("deployment", kafka, market, f"{name}-2", name) as third:
                until(lambda: "begins at offset" in logs[2].read_text(), logs[2])
                victim = rng.randrange(2)
                time.sleep(rng.uniform(0, 0.5))
                (first, third)[victim].kill()
                print(f"killed worker {2 * victim}")
                flow.join(120)
                send(kafka, served.ticks_topic, items[-80:])
                check_served(kafka, market, served)
                assert (third, first)[victim].poll() is None


def test_a_killed_broker_loses_and_doubles_nothing(tmp_path: Path, market: Market, rng: random.Random) -> None:
    broker = EmbeddedBroker(tmp_path)
    kafka, name, items = broker.start(), "broker", market.items
    recorder, served = bars_config(kafka, name), config(kafka, name)
    recorder.create_topics()
    served.create_topics()
    specs = [
        WorkerSpec(f"demo/{role}", role, tuple(command(role, kafka, market, name)), tmp_path / f"{role}.log")
        for role in ("bars", "deployment")
    ]
    supervisor = Supervisor(lambda: specs, tmp_path)
    supervisor.start()
    try:
        log = specs[1].log
        until(lambda: began(log), log)
        with flowing(kafka, recorder.ticks_topic, items, 0.05):
            until(lambda: len(values(kafka, served.predictions_topics[0])) > 3, log)
            time.sleep(rng.uniform(0, 1))
            (java,) = psutil.Process(broker._process.pid).children()  # type: ignore[union-attr]
            java.kill()
            broker.stop()
            assert broker.start() == kafka
        check_bars(kafka, market, name)
        check_served(kafka, market, served)
    finally:
        supervisor.stop()
        broker.stop()
