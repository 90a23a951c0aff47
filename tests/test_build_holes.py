"""Builds whose cached ticks are no longer all in the topic: the files are read again, and the dataset is the same."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from lit.features.library import save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.processors.build import build
from lit.processors.pump import Piece, Pump
from lit.streams import topics
from lit.streams.cached import cached_files
from lit.streams.clients import bounds, consumer
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES

IBM1, IBM2, BAC1 = (str(SAMPLES / f"{name}.csv.gz") for name in ("IBM.N_20131007", "IBM.N_20131008", "BAC.N_20131007"))


def eat(kafka: str, topic: str, share: float) -> None:
    """Let the head of each partition be gone, as retention does."""
    reader: Any = consumer(kafka, "eater")
    ends = {}
    for number in range(topics.FILE_PARTITIONS):
        low, high = bounds(reader, topic, number)
        if low < high:
            ends[number] = max(low + 1, low + int((high - low) * share))
    reader.close()
    wanted = [TopicPartition(topic, number, offset) for number, offset in ends.items()]
    admin = AdminClient({"bootstrap.servers": kafka})  # its futures end only while it lives
    for future in admin.delete_records(wanted).values():
        future.result(30)


@pytest.mark.kafka
def test_a_build_reads_the_files_where_the_topic_has_lost_its_head(kafka: str, tmp_path: Any) -> None:
    team = Workspace(tmp_path, "holes")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(team, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    schema = Schema("small", [IBM1, BAC1], ["per_minute", "bars"], split=Split("random", 0.3, 7))
    save_schema(team, schema)
    whole = build(team, "small", kafka)
    topic = topics.ticks("holes", "refinitiv").name
    eat(kafka, topic, 0.5)

    shutil.rmtree(team.path("build", "small"))
    shutil.rmtree(team.path("assets", "small"))
    again = build(team, "small", kafka, workers=2)
    assert (again.parts, again.ticks, again.unchanged, again.reused) == (whole.parts, whole.ticks, False, 0)
    log = team.path("logs", "2", "workflow.log").read_text()
    assert "the cache's topic no longer holds" in log and "reading the files" in log

    # IBM alone grows, but not behind its old files: its chunk is made anew, that of BAC is kept
    save_schema(team, Schema("small", [IBM2, IBM1, BAC1], ["per_minute", "bars"], split=schema.split))
    grown = build(team, "small", kafka)
    assert "reading the files" in team.path("logs", "3", "workflow.log").read_text()
    shutil.rmtree(team.path("build", "small"))
    shutil.rmtree(team.path("assets", "small"))
    assert build(team, "small", kafka).parts == grown.parts
    found = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert not [name for name in found if name.startswith("lit.holes.ticks.build")]


@pytest.mark.kafka
def test_a_hole_before_files_that_are_there_is_told_at_once(kafka: str, tmp_path: Any) -> None:
    """What lies behind a hole is met again in each pass: passes must end all the same."""
    team = Workspace(tmp_path, "pumped")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    save_schema(team, Schema("small", [IBM1, IBM2], ["per_minute"], split=Split("random", 0.3, 7)))
    build(team, "small", kafka)
    source = topics.ticks("pumped", "refinitiv").name
    eat(kafka, source, 0.1)
    known = cached_files(team)
    (symbol, one), (_, two) = known[IBM1].segments[0], known[IBM2].segments[0]
    pieces = [Piece(symbol, known[IBM1].origin, 0, one), Piece(symbol, known[IBM2].origin, one, two)]
    target = topics.ticks("pumped", "target")
    topics.create_topics(kafka, target)
    batches = 0

    def count() -> None:
        nonlocal batches
        batches += 1
        assert batches < 2_000, "the pump does not see that ticks are gone"

    assert Pump(kafka, source, target.name, pieces).run(count) == pieces
    assert Pump(kafka, source, target.name, pieces[1:]).run(count) == []
