"""Feature workers of a build over Kafka: the dataset chunks equal those of the engine alone, after a kill too."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from lit.features.engine import FeatureEngine, Samples
from lit.features.library import load_features, save_feature
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.tick import END_OF_TIME, Watermark
from lit.streams.workspace import Workspace
from tests.feature_worker import NAMES, SYMBOLS, job
from tests.tape import real_ticks


@pytest.mark.kafka
@pytest.mark.fault
def test_a_build_killed_midway_and_gone_on_equals_the_engine(kafka: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "demo")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    build = job(kafka, tmp_path)
    topics.create_topics(kafka, topics.Topic(build.topic))
    layout, plans = build.layout, build.plans()
    paths = {plan: build.path(plan) for plan in plans}
    assert len(paths) == 4

    sender = producer(kafka)
    for symbol in SYMBOLS:
        tape = real_ticks(symbol, 1)
        blocks = [tape.slice(at, at + 8192) for at in range(0, len(tape), 8192)]
        for item in [*blocks, Watermark(symbol, END_OF_TIME, len(tape))]:
            message = encode(item)
            sender.produce(build.topic, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0

    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "tests.feature_worker", kafka, str(tmp_path)]
    with log.open("ab") as out:
        first = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + 60
        while not any(path.exists() for path in paths.values()) and time.monotonic() < deadline:
            assert first.poll() is None, log.read_text()[-2000:]
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        second = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 90
            while not all(path.exists() for path in paths.values()) and time.monotonic() < deadline:
                assert second.poll() is None, log.read_text()[-2000:]
                time.sleep(0.1)
        finally:
            second.terminate()
            code = second.wait(30)
    # the first may have been quick: then the second is ended before it has begun to listen to signals
    assert code in (0, -signal.SIGTERM), log.read_text()[-2000:]
    for symbol in SYMBOLS:
        tape = real_ticks(symbol, 1)
        engine = FeatureEngine(symbol, load_features(workspace, NAMES))
        whole = Samples.concat([engine.feed(tape), engine.feed(Watermark(symbol, END_OF_TIME, len(tape)))])
        assert len(whole) > 100
        index, values = [], []
        for plan in (plan for plan in plans if plan.symbol == symbol):
            with h5py.File(paths[plan]) as file:
                index += file["index"][:].tolist() if "index" in file else []
                values += [file["features/bars"][:]] if "index" in file else []
        assert index == layout.indices(symbol, whole.index).tolist()
        assert np.concatenate(values).tobytes() == whole.values["bars"].astype("float32").tobytes()
