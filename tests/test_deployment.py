"""A deployment over Kafka: warm start, one prediction a bar through kills, each scored by its label."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from lit.features.bars import BarBuilder, Bars
from lit.features.dataset import DatasetAdapter
from lit.features.intervals import Interval
from lit.features.library import load_features, save_feature
from lit.processors.delivery import read_messages
from lit.serving.predictions import inputs_digest
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.records import Bar, Prediction, Score, encode_json
from lit.streams.tick import END_OF_TIME
from lit.streams.workspace import Workspace
from tests.deployment_worker import config
from tests.tape import real_ticks

WARM = 200


def publish(bootstrap: str, topic: str, bars: list[Bar]) -> None:
    sender = producer(bootstrap)
    for bar in bars:
        sender.produce(topic, key=bar.symbol.encode(), value=encode_json(bar))
    assert sender.flush(30) == 0


def records(bootstrap: str, topic: str, kind: type) -> list:  # type: ignore[type-arg]
    return [
        msgspec.json.decode(message.value(), type=kind)
        for partition in range(topics.PARTITIONS)
        for message in read_messages(bootstrap, topic, partition)
    ]


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
    tape = real_ticks("IBM.N", 1)
    builder = BarBuilder(Interval.parse("1minute"))
    columns = Bars.concat([builder.update(tape), builder.advance(END_OF_TIME)])
    bars = list(columns.records("IBM.N", "1minute"))
    publish(kafka, wanted.bars_topic, bars[:WARM])

    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "tests.deployment_worker", kafka, str(tmp_path), "served"]
    for at in range(WARM, len(bars), (len(bars) - WARM) // 2 + 1):
        part = bars[at : at + (len(bars) - WARM) // 2 + 1]
        with log.open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 60
            while not list(read_messages(kafka, wanted.state_topic, _partition(kafka, wanted.bars_topic))):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.1)
            publish(kafka, wanted.bars_topic, part)
            last = at == WARM
            goal = at - WARM + (len(part) // 2 if last else len(part))
            while len(records(kafka, wanted.predictions_topic, Prediction)) < goal:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    made = records(kafka, wanted.predictions_topic, Prediction)
    assert [p.ordinal for p in made] == list(range(WARM, len(bars)))
    adapter = DatasetAdapter.of_blocks([tape])
    inputs, label = load_features(workspace, ["bars", "up"])
    for prediction in made[::25]:
        value = inputs.compute(adapter, prediction.index, {})
        assert value is not None
        assert prediction.inputs_digest == inputs_digest({"bars": value.astype("float32")})
    scores = records(kafka, wanted.scores_topic, Score)
    assert len({s.ordinal for s in scores}) == len(scores) > 50
    for score in scores[::10]:
        assert score.outcome == label.compute(adapter, score.index, {}).tolist()  # type: ignore[union-attr]


def _partition(bootstrap: str, topic: str) -> int:
    return next(n for n in range(topics.PARTITIONS) if list(read_messages(bootstrap, topic, n)))
