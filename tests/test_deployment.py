"""A deployment over Kafka: warm start from bars and from ticks, one prediction a bar through kills, its scores."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lit.api.supervisor import Supervisor
from lit.api.workers import WorkerSpec
from lit.features.bars import BarBuilder, Bars
from lit.features.dataset import DatasetAdapter
from lit.features.feature import Feature
from lit.features.intervals import Interval
from lit.features.library import load_features, save_feature
from lit.processors.bar_partition import BarPartition
from lit.processors.bars_config import BarsConfig
from lit.processors.delivery import read_messages
from lit.serving.config import DeploymentConfig
from lit.serving.health import Health
from lit.serving.partition import HEALTH, Arrival, DeploymentPartition
from lit.serving.predictions import Model, inputs_digest
from lit.serving.recorded import Source
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.records import Bar, Prediction, Score
from lit.streams.tick import END_OF_TIME, Gap, TickBlock, Watermark
from lit.streams.workspace import Workspace
from tests.deployment_worker import Share, config
from tests.tape import real_ticks

MINUTE = Interval.parse("1minute")


def send(bootstrap: str, topic: str, tape: TickBlock, first: int, stop: int, size: int = 700) -> None:
    send_items(bootstrap, topic, [tape.slice(at, min(at + size, stop)) for at in range(first, stop, size)])


def send_items(bootstrap: str, topic: str, items: Sequence[TickBlock | Watermark], partition: int = -1) -> None:
    """Send messages, each to its key's partition unless one is given."""
    sender = producer(bootstrap)
    for item in items:
        message = encode(item)
        sender.produce(topic, key=message.key, value=message.value, headers=message.headers, partition=partition)
    assert sender.flush(30) == 0


def records(bootstrap: str, topic: str, kind: type) -> list[Any]:
    return [
        msgspec.json.decode(message.value() or b"", type=kind)
        for partition in range(topics.PARTITIONS)
        for message in read_messages(bootstrap, topic, partition)
    ]


def bars_until(tape: TickBlock, stop: int, interval: Interval = MINUTE) -> list[Bar]:
    return list(BarBuilder(interval).update(tape.slice(0, stop)).records(tape.symbol, interval))


@contextmanager
def worker(bootstrap: str, data: Path, name: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.deployment_worker", bootstrap, str(data), name]
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


@pytest.mark.kafka
@pytest.mark.fault
def test_each_new_bar_has_one_prediction_and_one_score_though_the_deployment_is_killed(
    kafka: str, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path, "demo")
    save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    wanted = config(kafka, "served")
    wanted.create_topics()
    tape, log = real_ticks("IBM.N", 1), tmp_path / "worker.log"
    warm, half = 6_000, 10_000
    send(kafka, wanted.ticks_topic, tape, 0, warm)
    number = partition_of(kafka, wanted.ticks_topic)
    expected = [bar.ordinal for bar in bars_until(tape, len(tape))[len(bars_until(tape, warm)) :]]
    for first, stop in ((warm, half), (half, len(tape))):
        with worker(kafka, tmp_path, "served", log) as process:
            until(lambda: any(read_messages(kafka, wanted.state_topic, number)), process, log)
            before = len(records(kafka, wanted.predictions_topics[0], Prediction))
            send(kafka, wanted.ticks_topic, tape, first, stop, size=40)
            goal = (before + 20) if stop < len(tape) else len(expected)  # the first is killed amid its work
            until(lambda g=goal: len(records(kafka, wanted.predictions_topics[0], Prediction)) >= g, process, log)  # type: ignore[misc]
    made = records(kafka, wanted.predictions_topics[0], Prediction)
    assert [p.ordinal for p in made] == expected
    adapter = DatasetAdapter.of_blocks([tape])
    inputs, label = load_features(workspace, ["bars", "up"])
    for prediction in made[::25]:
        value = inputs.compute(adapter, prediction.index, {})
        assert value is not None
        assert prediction.inputs_digest == inputs_digest({"bars": value.astype("float32")})
    scores = records(kafka, wanted.scores_topics[0], Score)
    assert len({s.ordinal for s in scores}) == len(scores) > 50
    for score in scores[::10]:
        assert score.outcome == label.compute(adapter, score.index, {}).tolist()  # type: ignore[union-attr]


@pytest.mark.kafka
@pytest.mark.fault
def test_a_changed_deployment_takes_over_without_a_missed_or_doubled_bar_whoever_is_killed(
    kafka: str, tmp_path: Path
) -> None:
    workspace, rng = Workspace(tmp_path, "demo"), random.Random(20131007)
    save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    wanted = config(kafka, "changed")
    wanted.create_topics()
    tape, warm = real_ticks("IBM.N", 1), 4_000
    send(kafka, wanted.ticks_topic, tape, 0, warm)
    number = partition_of(kafka, wanted.ticks_topic)
    specs = [_served(kafka, tmp_path, "first")]
    supervisor = Supervisor(lambda: list(specs), tmp_path)
    supervisor.start()
    try:
        deadline = time.monotonic() + 120
        while not any(read_messages(kafka, wanted.state_topic, number)):
            assert time.monotonic() < deadline, supervisor.statuses()
            time.sleep(0.1)
        for step, first in enumerate(range(warm, len(tape), 150)):
            send(kafka, wanted.ticks_topic, tape, first, min(first + 150, len(tape)), size=30)
            if step == 10:
                specs[0] = _served(kafka, tmp_path, "second")
                supervisor.wake()
            if step in (20, 50) and (victim := supervisor.statuses()[0].pid):
                os.kill(victim, signal.SIGKILL)
            time.sleep(rng.uniform(0.02, 0.1))
        expected = [bar.ordinal for bar in bars_until(tape, len(tape))[len(bars_until(tape, warm)) :]]
        while len(made := records(kafka, wanted.predictions_topics[0], Prediction)) < len(expected):
            assert time.monotonic() < deadline, (len(made), len(expected), supervisor.statuses())
            time.sleep(0.2)
    finally:
        supervisor.stop()
    made = records(kafka, wanted.predictions_topics[0], Prediction)
    assert [p.ordinal for p in made] == expected
    models = [p.model for p in made]
    assert models == sorted(models) and set(models) == {"first", "second"}


def _served(bootstrap: str, data: Path, model: str) -> WorkerSpec:
    argv = (sys.executable, "-m", "tests.deployment_worker", bootstrap, str(data), "changed", "--model", model)
    return WorkerSpec("demo/deployment.changed", "deployment", argv, data / "worker.log", model, handover=True)


class Recorder:
    """A model that remembers what it was given."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray[Any, Any]] = []

    def predict_many(self, inputs: dict[str, Any]) -> Any:
        rows = np.concatenate([np.asarray(value).reshape(len(value), -1) for value in inputs.values()], axis=1)
        self.seen += list(rows)
        return rows[:, :1]


def minute_bars(kafka: str, data: Path, name: str, count: int) -> tuple[DeploymentConfig, Feature]:
    """Return a deployment whose topics exist, and the feature of its stream's last minutes."""
    workspace = Workspace(data, "demo")
    save_feature(workspace, "bars", "unit_bar", {"count": count, "size": 1, "unit": "minute"})
    (bars,) = load_features(workspace, ["bars"])
    wanted = DeploymentConfig(kafka, "demo", name, name, MINUTE)
    wanted.create_topics()
    return wanted, bars


def record_bars(bootstrap: str, team: str, stream: str, intervals: list[str], until_offset: int) -> None:
    """Let the bars processor record bars and states up to an offset."""
    wanted = BarsConfig(bootstrap, team, stream, tuple(Interval.parse(text) for text in intervals))
    wanted.create_topics()
    for number in range(topics.PARTITIONS):
        messages = [m for m in read_messages(bootstrap, wanted.ticks_topic, number) if (m.offset() or 0) < until_offset]
        if messages:
            partition = BarPartition(wanted, number)
            for message in messages:
                partition.take(_Message(message))
            partition.write(partition.close_group())


class _Message:
    def __init__(self, message: Any) -> None:
        self.key, self.value, self.headers = message.key(), message.value(), message.headers()
        self.offset, self.partition = message.offset(), message.partition()


def arrivals(bootstrap: str, topic: str, partition: int, first: int) -> list[Arrival]:
    return [
        Arrival(m.offset() or 0, m.key() or b"", m.value() or b"", m.headers(), time.time())
        for m in read_messages(bootstrap, topic, partition, first)
    ]


def partition_of(bootstrap: str, topic: str) -> int:
    return next(n for n in range(topics.PARTITIONS) if next(read_messages(bootstrap, topic, n), None))


@pytest.mark.kafka
@pytest.mark.parametrize("recorded", ["nothing", "bars of a minute", "all bars", "more than the deployment knows"])
def test_a_warm_started_model_sees_what_a_dataset_would_show_it_whatever_was_recorded(
    kafka: str, tmp_path: Path, recorded: str
) -> None:
    workspace = Workspace(tmp_path, "demo")
    save_feature(workspace, "minutes", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    save_feature(workspace, "fives", "unit_bar", {"count": 6, "size": 5, "unit": "minute"})
    (workspace.folder("scripts") / "last_price.py").write_text(
        '"""Prices of the last trades.\n\nReturns\n-------\n[ now, before ]\n"""\n\n\n'
        "def feature(adapter, index, params={}, other_features={}):\n"
        "    return [adapter[index]['Price'], adapter[index - 300]['Price']] if index >= 300 else []\n"
    )
    save_feature(workspace, "prices", "last_price", {})
    features = load_features(workspace, ["minutes", "fives", "prices"])
    name = recorded.replace(" ", "-")
    wanted = DeploymentConfig(kafka, "demo", name, name, MINUTE)
    wanted.create_topics()
    tape, warm, later = real_ticks("IBM.N", 1), 7_000, 9_000
    send(kafka, wanted.ticks_topic, tape, 0, warm)
    number = partition_of(kafka, wanted.ticks_topic)
    end = len(arrivals(kafka, wanted.ticks_topic, number, 0))
    if recorded == "bars of a minute":
        record_bars(kafka, "demo", name, ["1minute"], end)
    elif recorded == "all bars":
        record_bars(kafka, "demo", name, ["1minute", "5minute"], end - 2)
    first, second = Recorder(), Recorder()
    partition = DeploymentPartition(wanted, [Model("m", features, None, first)], number)
    assert partition.position == end - 1 and not first.seen
    send(kafka, wanted.ticks_topic, tape, warm, warm + 1_000)
    partition.take(arrivals(kafka, wanted.ticks_topic, number, end))
    send(kafka, wanted.ticks_topic, tape, warm + 1_000, later)
    if recorded == "more than the deployment knows":
        record_bars(kafka, "demo", name, ["1minute", "5minute"], 10**9)
    partition = DeploymentPartition(wanted, [Model("m", features, None, second)], number)  # it comes back later

    made = records(kafka, wanted.predictions_topics[0], Prediction)
    expected = bars_until(tape, later)[len(bars_until(tape, warm)) :]
    assert [p.ordinal for p in made] == [bar.ordinal for bar in expected]
    assert first.seen and second.seen
    adapter = DatasetAdapter.of_blocks([tape])
    for bar, seen in zip(expected, first.seen + second.seen, strict=True):
        values = [np.ravel(f.compute(adapter, bar.last_index, {})).astype(np.float32) for f in features]  # type: ignore[arg-type]
        assert np.concatenate(values).tobytes() == seen.astype(np.float32).tobytes()


@pytest.mark.kafka
@pytest.mark.parametrize("restarted", [False, True])
def test_a_score_goes_where_its_prediction_went_though_the_model_was_promoted_since(
    kafka: str, tmp_path: Path, restarted: bool
) -> None:
    workspace = Workspace(tmp_path, "demo")
    save_feature(workspace, "bars", "unit_bar", {"count": 5, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    bars, label = load_features(workspace, ["bars", "up"])
    wanted = config(kafka, f"promoted-{restarted}")
    wanted.create_topics()
    tape, half, stop = real_ticks("IBM.N", 1), 6_000, 12_000
    hidden, seen = (Model("m", [bars], label, Share(), shadow=shadow) for shadow in (True, False))
    send(kafka, wanted.ticks_topic, tape, 0, 100)
    number = partition_of(kafka, wanted.ticks_topic)
    for model, first, last in ((hidden, 100, half), (seen, half, stop), (hidden, stop, stop + 500)):
        partition = DeploymentPartition(wanted, [model], number)
        send(kafka, wanted.ticks_topic, tape, first, last)
        partition.take(arrivals(kafka, wanted.ticks_topic, number, partition.position + 1))
        if restarted:  # what waits is read from the topics
            DeploymentPartition(wanted, [model], number)
    found = {}
    for shadow in (False, True):
        said, scored = wanted.predictions_topics[shadow], wanted.scores_topics[shadow]
        made = [p.ordinal for p in records(kafka, said, Prediction)]
        found[shadow] = [s.ordinal for s in records(kafka, scored, Score)]
        assert made == sorted(set(made)) and len(made) > 20
        assert found[shadow] == [ordinal for ordinal in made if ordinal in found[shadow]]
        assert set(made) - set(found[shadow]) <= set(range(max(made) - 13, max(made) + 1)), shadow
    assert not set(found[False]) & set(found[True])
    waiting = {p.ordinal for p in records(kafka, wanted.predictions_topics[0], Prediction)} - set(found[False])
    assert len(waiting) < 14  # some of the last that users saw were scored after the model went back to the shadow


@pytest.mark.kafka
def test_bars_that_close_together_are_predicted_together_and_a_watermark_closes_them(
    kafka: str, tmp_path: Path
) -> None:
    wanted, bars = minute_bars(kafka, tmp_path, "together", 5)
    tape = real_ticks("IBM.N", 1).slice(0, 3000)
    sizes: list[int] = []

    class Counting(Share):
        def predict_many(self, inputs: Any) -> Any:
            sizes.append(len(inputs["bars"]))
            return super().predict_many(inputs)

    partition = DeploymentPartition(wanted, [Model("m", [bars], None, Counting())], 0)
    batch: list[Arrival] = []
    for number in range(100):
        symbol = f"S{number}"
        for item in (TickBlock(symbol, 0, tape.batch), Watermark(symbol, END_OF_TIME, len(tape))):
            message = encode(item)
            batch.append(Arrival(len(batch), message.key, message.value, message.headers, time.time()))
    partition.take(batch)
    made = records(kafka, wanted.predictions_topics[0], Prediction)
    count = len(Bars.concat([BarBuilder(MINUTE).update(tape)])) + 1 - 5
    assert len(made) == 100 * count and len({(p.symbol, p.ordinal) for p in made}) == len(made)
    assert len(sizes) == 1 and sizes[0] == len(made)
    partition.save()
    health = [
        msgspec.json.decode(message.value() or b"", type=Health)
        for message in read_messages(kafka, wanted.state_topic, 0)
        if message.key() == HEALTH
    ][-1]
    assert health.passed_over == {"m": 500} and health.predictions == {"m": len(made)}  # five bars lack history
    again = DeploymentPartition(wanted, [Model("m", [bars], None, Counting())], 0)
    assert again._health.last == max(p.published_at for p in made)


@pytest.mark.kafka
def test_predictions_whose_inputs_reach_over_a_hole_in_the_feed_say_so_also_after_a_restart(
    kafka: str, tmp_path: Path
) -> None:
    wanted, bars = minute_bars(kafka, tmp_path, "holed", 20)
    tape, hole, later = real_ticks("IBM.N", 1), 5_000, 8_000
    send(kafka, wanted.ticks_topic, tape, 0, 3_000)
    number = partition_of(kafka, wanted.ticks_topic)
    DeploymentPartition(wanted, [Model("m", [bars], None, Share())], number)
    send(kafka, wanted.ticks_topic, tape, 3_000, hole)
    mark = Watermark("IBM.N", int(tape.timestamp[hole - 1]), hole, gap=Gap("reconnect"))
    send_items(kafka, wanted.ticks_topic, [mark])
    send(kafka, wanted.ticks_topic, tape, hole, hole + 300)
    DeploymentPartition(wanted, [Model("m", [bars], None, Share())], number).save()
    send(kafka, wanted.ticks_topic, tape, hole + 300, later)
    DeploymentPartition(wanted, [Model("m", [bars], None, Share())], number)
    closed = {bar.ordinal: bar for bar in bars_until(tape, later)}
    made = records(kafka, wanted.predictions_topics[0], Prediction)
    assert [p.over_gap for p in made] == [closed[p.ordinal - 20].first_index < hole <= p.index for p in made]
    assert 10 < sum(p.over_gap for p in made) < 22 and not made[0].over_gap and not made[-1].over_gap


@pytest.mark.kafka
def test_a_new_deployment_begins_where_each_symbols_bars_were_recorded_and_knows_earlier_holes(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, bars = minute_bars(kafka, tmp_path, "uneven", 20)
    recorder = BarsConfig(kafka, "demo", "uneven", (MINUTE,))
    recorder.create_topics()
    tape, hole, warm, later = real_ticks("IBM.N", 1), 4_000, 5_000, 8_000

    def parts(first: int, last: int) -> list[TickBlock | Watermark]:
        found: list[TickBlock | Watermark] = []
        for start in range(first, last, 100):
            found += [replace(tape.slice(start, start + 100), symbol=symbol) for symbol in ("A", "B")]
        return found

    mark = Watermark("A", int(tape.timestamp[hole - 1]), hole, gap=Gap("reconnect"))
    send_items(kafka, wanted.ticks_topic, [*parts(0, hole), mark, *parts(hole, warm)], 0)
    partition = BarPartition(recorder, 0)
    monkeypatch.setattr("lit.processors.bar_partition.CLOSED_SECONDS", 0.0)
    for message in read_messages(kafka, recorder.ticks_topic, 0):
        partition.take(_Message(message))
        # all states are written once, in what the partition takes for a pause
        monkeypatch.setattr("lit.processors.bar_partition.QUIET_SECONDS", 0.0 if message.offset() == 50 else 1e9)
        monkeypatch.setattr("lit.processors.bar_partition.GROUP_SECONDS", 1e9)
        if partition.due:
            partition.write(partition.close_group())
    states = Source(kafka, "demo", "uneven", 0).builders()
    assert len({state.applied for state in states.values()}) == 2
    assert {state.complete for state in states.values()} == {50}

    first = DeploymentPartition(wanted, [Model("m", [bars], None, Share())], 0)
    end = first.position + 1
    send_items(kafka, wanted.ticks_topic, parts(warm, later), 0)
    first.take(arrivals(kafka, wanted.ticks_topic, 0, end))
    closed = {bar.ordinal: bar for bar in bars_until(tape, later)}
    made = records(kafka, wanted.predictions_topics[0], Prediction)
    for symbol in ("A", "B"):
        own = [p for p in made if p.symbol == symbol]
        assert [p.ordinal for p in own] == list(closed)[len(bars_until(tape, warm)) :]
        holed = [closed[p.ordinal - 20].first_index < hole <= p.index for p in own]
        assert [p.over_gap for p in own] == (holed if symbol == "A" else [False] * len(own))
    assert any(p.over_gap for p in made)
