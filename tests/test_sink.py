"""The sink over Kafka and the embedded store: every tick once, though it is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from lit.streams import topics
from lit.streams.clients import bounds, consumer, producer
from lit.streams.codec import encode
from lit.streams.store_open import open_store
from tests.tape import real_ticks


def await_acknowledged(kafka: str, topic: str) -> None:
    """Wait until the sink has acknowledged all that its topic holds."""
    reader = consumer(kafka, "lit.demo.sink.stored")
    places = [TopicPartition(topic, number) for number in range(topics.PARTITIONS)]
    deadline = time.monotonic() + 120
    while any(max(one.offset, 0) < bounds(reader, topic, one.partition)[1] for one in reader.committed(places, 10.0)):
        assert time.monotonic() < deadline, "not all was acknowledged"
        time.sleep(0.2)
    reader.close()


@pytest.mark.kafka
@pytest.mark.fault
def test_every_tick_is_stored_once_though_the_sink_is_killed(kafka: str, tmp_path: Path) -> None:
    topic = topics.ticks("demo", "stored")
    topics.create_topics(kafka, topic)
    tape = real_ticks("IBM.N", 2)
    command = [sys.executable, "-c", "from lit.cli import main; main()", "worker", "sink", "--source", "stored"]
    env = {**os.environ, "LIT_KAFKA": kafka, "LIT_DATA": str(tmp_path)}
    log = tmp_path / "sink.log"
    sender = producer(kafka)
    stored = 0
    for stage in range(3):
        part = tape.slice(len(tape) * stage // 3, len(tape) * (stage + 1) // 3)
        for at in range(0, len(part), 700):
            message = encode(part.slice(at, at + 700))
            sender.produce(topic.name, key=message.key, value=message.value, headers=message.headers)
        assert sender.flush(30) == 0
        with log.open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        # killed while it starts, while it inserts, and at last ended cleanly after all has come
        if stage < 2:
            time.sleep((3.0, 9.0)[stage])
        else:
            await_acknowledged(kafka, topic.name)
        assert process.poll() is None, log.read_text()[-2000:]
        process.send_signal(signal.SIGKILL if stage < 2 else signal.SIGTERM)
        process.wait(30)
        with open_store(tmp_path, None) as stores:
            before, stored = stored, stores.team("demo").count("stored")
            assert before <= stored <= part.next_index
    assert stored == len(tape)
    with open_store(tmp_path, None) as stores:
        back = stores.team("demo").window("stored", "IBM.N", 1000, 2000)
        assert back.price.tobytes() == tape.price[1000:2000].tobytes()
        assert back.timestamp.tobytes() == tape.timestamp[1000:2000].tobytes()
