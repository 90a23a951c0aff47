"""The bars worker against a real broker: equal to one pass of the kernel, however often it is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from lit.features.bars import BarBuilder, Bars
from lit.features.intervals import Interval
from lit.processors.bars_config import BarsConfig
from lit.processors.delivery import read_messages
from lit.processors.verify import verify_parity
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.records import Bar, decode_bars, encode_json
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark
from tests.tape import real_ticks

SYMBOLS = ("IBM.N", "BAC.N")
MINUTE = Interval.parse("1minute")
SECOND = Interval.parse("1second")


def publish(bootstrap: str, topic: str, items: list[TickBlock | Watermark]) -> None:
    sender = producer(bootstrap)
    for item in items:
        message = encode(item)
        sender.produce(topic, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0


def blocks(symbol: str, size: int) -> list[TickBlock | Watermark]:
    tape = real_ticks(symbol, 2)
    cut: list[TickBlock | Watermark] = [tape.slice(at, at + size) for at in range(0, len(tape), size)]
    return [*cut, Watermark(symbol, END_OF_TIME, len(tape))]


def expected(symbol: str, interval: Interval) -> list[Bar]:
    builder = BarBuilder(interval)
    bars = Bars.concat([builder.update(real_ticks(symbol, 2)), builder.advance(END_OF_TIME)])
    return list(bars.records(symbol, interval))


def published(config: BarsConfig, interval: Interval) -> dict[str, list[Bar]]:
    found: dict[str, list[Bar]] = {symbol: [] for symbol in SYMBOLS}
    for partition in range(topics.PARTITIONS):
        for message in read_messages(config.bootstrap, config.bars_topic(interval), partition):
            for bar in decode_bars(message.value()):
                found[bar.symbol].append(bar)
    return found


@contextmanager
def worker(config: BarsConfig, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    names = ",".join(map(str, config.intervals))
    command = [sys.executable, "-c", "from lit.cli import main; main()", "worker", "bars", "--team", config.team]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, "--source", config.source, "--intervals", names],
            env={**os.environ, "LIT_KAFKA": config.bootstrap},
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def count(config: BarsConfig) -> int:
    return sum(len(bars) for interval in config.intervals for bars in published(config, interval).values())


@pytest.mark.kafka
@pytest.mark.fault
def test_a_worker_killed_at_random_moments_publishes_every_bar_once(kafka: str, tmp_path: Path) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    config = BarsConfig(kafka, "demo", f"killed{seed}", (SECOND, MINUTE))
    config.create_topics()
    items = [item for pair in zip(*(blocks(s, 500) for s in SYMBOLS), strict=False) for item in pair]
    longer = max((blocks(s, 500) for s in SYMBOLS), key=len)
    items += longer[len(items) // 2 :]
    goal = {(s, i): expected(s, i) for s in SYMBOLS for i in config.intervals}
    total = sum(map(len, goal.values()))
    log = tmp_path / "worker.log"
    last = len(items) - 10  # kept back for the worker that ends in order
    midway = 0
    for at in range(0, last, last // 4 + 1):
        publish(kafka, config.ticks_topic, items[at : min(at + last // 4 + 1, last)])
        with worker(config, log) as process:
            before = count(config)
            deadline = time.monotonic() + 60
            while count(config) == before and time.monotonic() < deadline:
                assert process.poll() is None, log.read_text()[-2000:]
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        midway += 0 < count(config) < total
    assert midway, "no kill came before the end"
    publish(kafka, config.ticks_topic, items[last:])
    with worker(config, log) as process:
        deadline = time.monotonic() + 60
        while count(config) < total and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        time.sleep(1.0)  # whatever came twice would come now
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()[-2000:]
    for interval in config.intervals:
        found = published(config, interval)
        for symbol in SYMBOLS:
            assert found[symbol] == goal[symbol, interval]
        verdict = verify_parity(kafka, config.team, config.source, interval)
        assert verdict.compared == sum(len(goal[symbol, interval]) for symbol in SYMBOLS)
        assert not verdict.differences


@pytest.mark.kafka
def test_a_bar_that_its_ticks_do_not_make_is_told(kafka: str) -> None:
    config = BarsConfig(kafka, "demo", "forged", (MINUTE,))
    config.create_topics()
    publish(kafka, config.ticks_topic, blocks("IBM.N", 8192))
    bars = expected("IBM.N", MINUTE)[:5]
    bars[3] = msgspec.structs.replace(bars[3], close=bars[3].close + 0.01)
    sender = producer(kafka)
    for bar in bars:
        sender.produce(config.bars_topic(MINUTE), key=b"IBM.N", value=encode_json(bar))
    assert sender.flush(30) == 0
    verdict = verify_parity(kafka, "demo", "forged", MINUTE)
    assert verdict.compared == 4 and len(verdict.differences) == 1 and bars[3].start in verdict.differences[0]


@pytest.mark.kafka
def test_poison_goes_to_the_dead_letters_and_the_rest_goes_on(kafka: str, tmp_path: Path) -> None:
    config = BarsConfig(kafka, "demo", "poison", (MINUTE,))
    config.create_topics()
    items = blocks("IBM.N", 8192)
    publish(kafka, config.ticks_topic, items[:3])
    sender = producer(kafka)
    sender.produce(config.ticks_topic, key=b"IBM.N", value=b"no arrow", headers=[("content-type", b"text/plain")])
    assert sender.flush(30) == 0
    publish(kafka, config.ticks_topic, [*items[2:3], *items[3:]])  # a repeated block as well
    goal = expected("IBM.N", MINUTE)
    with worker(config, tmp_path / "worker.log") as process:
        deadline = time.monotonic() + 60
        while count(config) < len(goal) and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            time.sleep(0.2)
    assert published(config, MINUTE)["IBM.N"] == goal
    more = BarsConfig(kafka, "demo", "poison", (MINUTE, SECOND))  # a group of its own, which reads all once more
    more.create_topics()
    with worker(more, tmp_path / "worker.log") as process:
        deadline = time.monotonic() + 60
        while len(published(more, SECOND)["IBM.N"]) < len(expected("IBM.N", SECOND)) and time.monotonic() < deadline:
            assert process.poll() is None, (tmp_path / "worker.log").read_text()[-2000:]
            time.sleep(0.2)
    assert published(more, SECOND)["IBM.N"] == expected("IBM.N", SECOND)
    assert published(more, MINUTE)["IBM.N"] == goal
    dead = list(read_messages(kafka, config.dead_topic, 0))
    assert [message.value() for message in dead] == [b"no arrow"]


@pytest.mark.kafka
def test_a_gap_in_the_tick_topic_ends_the_worker_with_a_sentence(kafka: str, tmp_path: Path) -> None:
    config = BarsConfig(kafka, "demo", "gap", (MINUTE,))
    config.create_topics()
    items = blocks("IBM.N", 8192)
    publish(kafka, config.ticks_topic, [items[0], items[2]])
    with worker(config, tmp_path / "worker.log") as process:
        assert process.wait(60) == 1
    text = (tmp_path / "worker.log").read_text()
    assert "ticks 8192 to 16383 of IBM.N are missing" in text and "Traceback" not in text
