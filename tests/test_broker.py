"""The embedded broker: one per folder, keeps its data, never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from lit.streams import topics
from lit.streams.broker import EmbeddedBroker, answers, free_port
from lit.streams.broker import kafka as open_kafka
from lit.streams.clients import consumer, producer
from lit.streams.errors import FaultError
from lit.streams.kafka_jars import installed_jars, locked_jars, resolve_jars

HOLD = "import sys,time\nfrom pathlib import Path\nfrom lit.streams.broker import kafka\n" \
       "with kafka(Path(sys.argv[1]), None) as b:\n    print(b, flush=True)\n    time.sleep(600)\n"  # fmt: skip


def _hold(data: Path) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(data)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def _values(bootstrap: str, topic: str) -> list[bytes]:
    reader = consumer(bootstrap, "test", **{"enable.partition.eof": True})
    reader.subscribe([topic])
    values, ended = [], set()
    while len(ended) < topics.PARTITIONS:
        message = reader.poll(20)
        assert message is not None, "the broker fell silent"
        if message.error():
            ended.add(message.partition())
        else:
            values.append(message.value())
    reader.close()
    return values


def test_a_second_user_attaches_and_does_not_stop_what_it_did_not_start(tmp_path: Path) -> None:
    first = EmbeddedBroker(tmp_path)
    address = first.start()
    with open_kafka(tmp_path, None) as second:
        assert second == address
    assert answers(address)
    first.stop()
    assert not answers(address, 1.0)
    assert EmbeddedBroker(tmp_path).running() is None


@pytest.mark.fault
def test_every_acknowledged_message_is_there_after_the_java_is_killed(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    address = broker.start()
    topic = topics.ticks("demo", "killed")
    topics.create_topics(address, topic)
    acknowledged: list[bytes] = []
    sender: Producer = producer(address, **{"log_level": 0})

    def note(error: object, message: object) -> None:
        if error is None:
            acknowledged.append(message.value())  # type: ignore[attr-defined]

    for number in range(4000):
        sender.produce(topic.name, str(number).encode() * 200, str(number % 7).encode(), on_delivery=note)
        sender.poll(0)
        if number == 2000:
            while not acknowledged:
                sender.poll(0.1)
            for java in psutil.Process(broker._process.pid).children():  # type: ignore[union-attr]
                java.kill()
            broker.stop()
            assert broker.start() == address, "clients find the restarted broker at its old address"
    assert sender.flush(60) == 0
    assert len(acknowledged) == 4000
    values = _values(address, topic.name)
    broker.stop()
    assert sorted(values) == sorted(acknowledged), "each acknowledged message once"


@pytest.mark.fault
def test_the_broker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    child, address = _hold(tmp_path)
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) == 2 and answers(address)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="rests on Linux's death signal")
def test_a_killed_supervisor_takes_the_java_with_it_and_the_folder_starts_again(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path)
    address = broker.start()
    assert broker._process is not None
    javas = psutil.Process(broker._process.pid).children()
    broker._process.kill()
    _, alive = psutil.wait_procs(javas, timeout=30)
    assert len(javas) == 1 and not alive
    broker.stop()
    assert broker.start() == address
    broker.stop()


def test_an_address_without_a_broker_is_a_sentence(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    with pytest.raises(FaultError, match=f"no Kafka answers at {nowhere}"), open_kafka(tmp_path, nowhere):
        pass
    assert not (tmp_path / ".kafka").exists()


def test_missing_jars_are_a_sentence_and_the_lock_names_no_host(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"46 of the 46 Kafka jars are missing.*make setup"):
        installed_jars(tmp_path)
    assert all(len(jar.sha256) == 64 and "/" not in str(jar) for jar in locked_jars())


def test_set_up_jars_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert resolve_jars() == installed_jars()


def test_a_broker_that_ends_at_its_start_says_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lit.streams.broker.HEAP", "1m")
    with pytest.raises(FaultError, match=r"(?i)heap|format|memory"):
        EmbeddedBroker(tmp_path).start()
