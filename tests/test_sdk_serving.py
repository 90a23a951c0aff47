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
from lit.streams.clients import consumer, partitions_of, producer
from lit.streams.errors import FaultError, UserError
from lit.streams.live import load_stream
from lit.streams.records import Prediction, Score, encode_json
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import real_ticks
from tests.training import add_item


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
def test_a_notebook_makes_steers_and_removes_streams(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    monkeypatch.setenv("LIT_KAFKA", kafka)
    team, workspace = "sdkmade", Workspace(tmp_path, "sdkmade")
    with pytest.raises(UserError, match="'market' is unknown"):
        streams.create(team, "day", "replay", {"paths": ["a.csv.gz"], "market": "x"}, partitions=3)
    assert streams.streams(team) == [] and not partitions_of(kafka, topics.ticks(team, "day").name)
    streams.create(team, "day", "replay", {"paths": ["a.csv.gz"]}, intervals=["5sec"], partitions=3)
    assert partitions_of(kafka, topics.ticks(team, "day").name) == [0, 1, 2]
    with pytest.raises(UserError, match="has a stream 'day'"):
        streams.create(team, "day", "replay", {"paths": ["b.csv.gz"]})
    streams.change(team, "day", {"speed": 60})
    streams.steer(team, "day", paused=True, seek="2013-10-07T14:30:00Z")
    found = load_stream(workspace, "day")
    assert found.intervals == ["5second"] and found.parameters["paths"] == ["a.csv.gz"] and found.enabled
    assert found.parameters["speed"] == 60 and found.parameters["paused"] is True
    assert streams.stop(team, "day") is False and not load_stream(workspace, "day").enabled  # no server runs
    assert streams.start(team, "day") is False and load_stream(workspace, "day").enabled
    assert streams.health(team, "day") is None and streams.gaps(team, "day") == []
    (workspace.folder("preview") / "up.json").write_text('{"name": "up", "stream": "day"}')
    with pytest.raises(UserError, match="deployment 'up' reads stream 'day'"):
        streams.remove(team, "day")
    deployments.remove(team, "up")
    streams.remove(team, "day")
    for ask in (streams.remove, streams.health, streams.gaps, streams.start, streams.change):
        with pytest.raises(UserError, match="no stream 'day'"):
            ask(team, "day")


def test_a_notebook_makes_and_changes_deployments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    team, workspace = "sdkdeploys", Workspace(tmp_path, "sdkdeploys")
    for item in ("old", "new"):
        add_item(workspace, item)
    (workspace.folder("streams") / "tape.json").write_text('{"adapter": {"name": "replay"}}')
    with pytest.raises(UserError, match="no stream 'nosuch'"):
        deployments.create(team, "up", "nosuch")
    deployments.create(team, "up", "tape", interval="5min", alerts={"drift": 0.25})
    with pytest.raises(UserError, match="deployment 'up' exists"):
        deployments.create(team, "up", "tape")
    with pytest.raises(UserError, match="'lost'"):
        deployments.change(team, "up", models=["lost"])
    deployments.change(team, "up", models=["old"], shadow=["new"], ticker="A, B", alerts={"silence": 60})
    deployments.promote(team, "up", "new")
    found = deployments.deployments(team)["up"]
    assert found["output"] == {"device": "cpu", "models": ["new"], "shadow": ["old"]}
    assert found["parameters"] == {"ticker": "A, B", "interval": "5minute"}
    assert found["alerts"] == {"drift": 0.25, "silence": 60}
    deployments.withdraw(team, "up", "old")
    assert deployments.change(team, "up", ticker="", alerts={"drift": None}).alerts == {"silence": 60}
    assert deployments.deploy(team, "old", name="up", shadow=True).output.shadow == ["old"]
    assert deployments.deploy(team, "old", "tape").name == "old"
    deployments.remove(team, "up")
    with pytest.raises(UserError, match=r"an earlier deployment 'up' predicted at bars of 5minute of 'tape'"):
        deployments.create(team, "up", "tape")
    assert deployments.create(team, "up", "tape", interval="5min").output.models == []
    with pytest.raises(UserError, match="'u_p' would have the topics of 'u p'"):
        for name in ("u p", "u_p"):
            deployments.create(team, name, "tape")
    assert (tmp_path / team / "preview" / "up.json").stat().st_mode & 0o777 == 0o600
    for ask in (deployments.health, deployments.report, deployments.restart, deployments.log):
        with pytest.raises(FaultError, match="`lit up` starts it"):
            ask(team, "up")


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
    assert deployments.predictions("sdkserve", "up", shadow=True).empty
    assert all(deployments.scores("sdkserve", "up", shadow=shadow).empty for shadow in (False, True))
    said = Score(**msgspec.structs.asdict(one) | {"outcome": [1.0]})
    for place, ordinals in (("up", (0, 0, 1)), ("up.shadow", (0, 0))):
        for ordinal in ordinals:
            record = msgspec.structs.replace(said, ordinal=ordinal)
            sender.produce(topics.scores("sdkserve", place).name, encode_json(record), b"A")
    assert sender.flush(30) == 0
    assert deployments.scores("sdkserve", "up")["outcome"].tolist() == [[1.0], [1.0]]
    assert deployments.scores("sdkserve", "up", shadow=True)["ordinal"].tolist() == [0]


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
