"""Streams and deployments from a notebook: ticks, bars and predictions as DataFrames, and as they come."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lit.api.errors import add_handlers
from lit.features.bars import BAR_COLUMNS, BarBuilder
from lit.features.intervals import Interval
from lit.sdk import deployments, streams
from lit.sdk.insights import insights
from lit.streams import topics
from lit.streams.clients import consumer, producer
from lit.streams.errors import FaultError, UserError
from lit.streams.records import Prediction, encode_json
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import real_ticks


def test_a_notebook_lists_streams_and_reads_ticks_and_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    (Workspace(tmp_path, "sdk").folder("streams") / "tape.json").write_text('{"adapter": {"name": "replay"}}')
    tape = real_ticks("IBM.N", 1).slice(0, 5000)
    with open_store(tmp_path, None) as stores:
        stores.team("sdk").insert("tape", 0, [(0, tape)])
    assert streams.streams("sdk") == ["tape"] and streams.symbols("sdk", "tape") == {"IBM.N": 5000}
    newest = streams.ticks("sdk", "tape", "IBM.N", count=3)
    assert list(newest.index) == [4997, 4998, 4999] and list(newest["Price"]) == tape.price[-3:].tolist()
    assert streams.ticks("sdk", "tape", "IBM.N", first=7, count=1)["timestamp"].tolist() == [tape.timestamp[7]]
    for ask in (streams.ticks, streams.bars):
        with pytest.raises(UserError, match=r"'X' \(it has: IBM\.N\)"):
            ask("sdk", "tape", "X")
        with pytest.raises(UserError, match="count is -1"):
            ask("sdk", "tape", "IBM.N", count=-1)
    with pytest.raises(UserError, match="first is -5"):
        streams.ticks("sdk", "tape", "IBM.N", first=-5)
    expected = BarBuilder(Interval.parse("7minute")).update(tape)
    found = streams.bars("sdk", "tape", "IBM.N", "7min")
    assert np.array_equal(found[list(BAR_COLUMNS)].to_numpy(), expected.values) and len(found)
    assert found["start"].astype("datetime64[ns, UTC]").astype("int64").tolist() == expected.start.tolist()
    assert list(streams.bars("sdk", "tape", "IBM.N", "7min", count=2).index) == expected.ordinal[-2:].tolist()


@pytest.mark.kafka
def test_a_notebook_reads_predictions_once_each_and_follows_them(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    monkeypatch.setenv("LIT_KAFKA", kafka)
    with pytest.raises(UserError, match="'up'"):
        deployments.predictions("sdkserve", "up")
    folder = Workspace(tmp_path, "sdkserve").folder("preview")
    (folder / "up.json").write_text('{"name": "up", "stream": "tape", "output": {"models": ["m"]}}')
    found = deployments.deployments("sdkserve")["up"]
    assert (found["stream"], found["parameters"]["interval"]) == ("tape", "1minute")
    (folder / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json is not a deployment"):
        deployments.deployments("sdkserve")
    with pytest.raises(UserError, match=r"'down' \(there are: broken, up\)"):
        deployments.predictions("sdkserve", "down")
    assert deployments.predictions("sdkserve", "up").empty
    one = Prediction(
        "up", "m", "A", "1minute", "2020-01-01T00:00:00.000Z", 9, [0.5], "", 0, "2020-01-01T00:01:00.010Z", 1.5
    )
    sender, name = producer(kafka), topics.predictions("sdkserve", "up").name

    def publish(*ordinals: int) -> None:
        for ordinal in ordinals:
            sender.produce(name, encode_json(msgspec.structs.replace(one, ordinal=ordinal, index=ordinal)), b"A")
        assert sender.flush(30) == 0

    publish(0, 1, 1, 0)
    found = deployments.predictions("sdkserve", "up")
    assert found["ordinal"].tolist() == [0, 1] and found["prediction"].tolist() == [[0.5], [0.5]]
    assert found["published_at"].dt.year.tolist() == [2020, 2020]
    coming = deployments.follow("sdkserve", "up")
    assert [next(coming).ordinal, next(coming).ordinal] == [0, 1]
    publish(1, 2)
    assert next(coming).ordinal == 2
    coming.close()


@pytest.mark.kafka
def test_a_broker_that_answers_no_more_is_told_in_a_sentence_over_rest_and_in_python(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("LIT_DATA", str(tmp_path))
        monkeypatch.setenv("LIT_KAFKA", kafka)
        app = FastAPI()
        add_handlers(app)

        @app.get("/topics")
        def ask() -> None:
            consumer(address, "told").list_topics(timeout=0.5)

        answer = TestClient(app).get("/topics")
        assert answer.status_code == 503 and answer.json()["detail"].startswith("Kafka does not answer (")
        with pytest.raises(FaultError, match="does not answer"), insights():
            consumer(address, "told").list_topics(timeout=0.5)
