"""`lit topics`, `lit tail`, `lit doctor`, the AsyncAPI document and the compose file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from lit.cli import doctor as doctor_cli
from lit.cli import stream as stream_cli
from lit.cli import topics as topics_cli
from lit.streams import topics
from lit.streams.broker import free_port
from lit.streams.catalogue import full_name
from lit.streams.clients import partitions_of, producer
from lit.streams.codec import encode
from lit.streams.errors import UserError
from lit.streams.tick import END_OF_TIME, Watermark, tick_block

ROOT = Path(__file__).parent.parent
app = typer.Typer()
topics_cli.register(app)
doctor_cli.register(app)
stream_cli.register(app)


@pytest.fixture
def filled(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LIT_KAFKA", kafka)
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    ticks, bars = topics.ticks("tailers", "s"), topics.bars("tailers", "s", "1minute")
    topics.create_topics(kafka, ticks, bars)
    return kafka


def _send(kafka: str, topic: str, items: list[tuple[bytes, bytes, Any]]) -> None:
    sender = producer(kafka)
    for key, value, headers in items:
        sender.produce(topic, value, key, headers=headers)
    assert sender.flush(20) == 0


def test_topics_and_tail_show_what_is_there(filled: str) -> None:
    block = encode(tick_block("IBM.N", 5, [10**18, 10**18 + 1], [1.5, 2.5], [3, 4]))
    end = encode(Watermark("IBM.N", END_OF_TIME, 7))
    _send(filled, "lit.tailers.ticks.s", [(m.key, m.value, m.headers) for m in (block, end)])
    _send(filled, "lit.tailers.bars.s.1minute", [(b"A", b'[{"symbol":"A","open":1.5},{"symbol":"A","open":2.5}]', [])])

    listed = json.loads(CliRunner().invoke(app, ["topics", "--json"]).stdout)
    found = {entry["name"]: entry for entry in listed if entry["team"] == "tailers"}
    assert found["lit.tailers.ticks.s"] == {
        "name": "lit.tailers.ticks.s", "team": "tailers", "kind": "ticks", "partitions": 4, "messages": 2,
    }  # fmt: skip
    assert "lit.tailers.bars.s.1minute" in CliRunner().invoke(app, ["topics"]).stdout

    tail = ["tail", "ticks.s", "--team", "tailers", "--from-beginning", "-n"]
    lines = CliRunner().invoke(app, [*tail, "2"]).stdout.splitlines()
    assert lines[0].startswith("IBM.N [5…6] 2 ticks 2001-09-09T01:46:40.000Z") and lines[0].endswith("last 2.5")
    assert lines[1] == "IBM.N watermark the end"
    whole = [json.loads(line) for line in CliRunner().invoke(app, [*tail, "2", "--json"]).stdout.splitlines()]
    assert [(tick["index"], tick["Price"]) for tick in whole] == [(5, 1.5), (6, 2.5)]
    bars = CliRunner().invoke(app, ["tail", "lit.tailers.bars.s.1minute", "--from-beginning", "-n", "1"]).stdout
    assert bars.splitlines() == ["symbol=A open=1.5"]  # a record, though its message has two


def test_what_follows_from_ticks_has_as_many_partitions_as_they(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "PARTITIONS", 1)
    live, files, old = (
        topics.ticks("counted", "live"),
        topics.file_ticks("counted", "files"),
        topics.ticks("counted", "old"),
    )
    topics.create_topics(kafka, replace(old, partitions=3))
    for ticks in (live, files, old):
        topics.create_topics(kafka, ticks)
        source = ticks.name.rpartition(".")[2]
        bars, dead = topics.bars("counted", source, "1minute"), topics.dead_letters("counted", source)
        topics.create_topics(kafka, topics.ticks("counted", source), bars, dead)
        expected = {"live": 1, "files": topics.FILE_PARTITIONS, "old": 3}[source]
        assert [len(partitions_of(kafka, one.name)) for one in (ticks, bars, dead)] == [expected, expected, 1]
    assert partitions_of(kafka, "lit.counted.ticks.none") == []


def test_a_stream_may_be_made_with_partitions_to_share(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_KAFKA", kafka)
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    new = ["stream", "new", "feed", "crypto", "--team", "shared", "--partitions"]
    made = CliRunner().invoke(app, [*new, "3"])
    assert made.exit_code == 0, made.output
    assert partitions_of(kafka, topics.ticks("shared", "feed").name) == [0, 1, 2]
    (tmp_path / "shared" / "streams" / "feed.json").unlink()
    again = CliRunner().invoke(app, [*new, "2"])
    assert isinstance(again.exception, UserError) and "with 3 partitions" in str(again.exception)


def test_a_short_name_must_mean_one_topic() -> None:
    existing = ["lit.a.events", "lit.b.events", "lit.a.ticks.s"]
    assert full_name("ticks.s", None, existing) == "lit.a.ticks.s"
    assert full_name("events", "b", existing) == "lit.b.events"
    with pytest.raises(UserError, match="several teams"):
        full_name("events", None, existing)
    with pytest.raises(UserError, match="no topic 'tick'"):
        full_name("tick", None, existing)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads(CliRunner().invoke(app, ["topics", "--asyncapi"]).stdout)
    assert document["asyncapi"] == "3.0.0" and set(document["channels"]) >= {"ticks", "bars", "predictions", "scores"}

    def check(node: Any) -> int:
        if isinstance(node, list):
            return sum(map(check, node))
        if not isinstance(node, dict):
            return 0
        if "$ref" in node:
            target: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
        return ("$ref" in node) + sum(map(check, node.values()))

    assert check(document) > 12


def test_doctor_finds_a_broker_and_misses_one(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_PORT", "0")
    healthy = CliRunner().invoke(app, ["doctor", "--json"])
    results = {found["check"]: found for found in json.loads(healthy.stdout)}
    assert healthy.exit_code == 0 and results["broker"]["text"] == f"answers at {filled}"
    monkeypatch.setenv("LIT_KAFKA", f"127.0.0.1:{free_port()}")
    ill = CliRunner().invoke(app, ["doctor"])
    assert ill.exit_code == 1 and "wrong  broker" in ill.stdout and "check LIT_KAFKA" in ill.stdout


def test_the_compose_file_publishes_to_loopback_only_and_checks_health() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {"LIT_KAFKA", "LIT_CLICKHOUSE"} <= set(services["lit"]["environment"])
    for service in services.values():
        assert "healthcheck" in service
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
