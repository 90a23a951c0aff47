"""Replays: files become gapless sequences in Kafka, go on after a stop or a kill, and refuse what does not fit."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.clients import partitions_of
from lit.streams.codec import decode
from lit.streams.errors import UserError
from lit.streams.replay import ReplayProgress, plan_files, replay
from lit.streams.tick import TickBlock, Watermark
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

DAYS = [SAMPLES / f"{symbol}_2013100{day}.csv.gz" for day in (7, 8) for symbol in ("IBM.N", "BAC.N")]


def new_topic(kafka: str, source: str) -> str:
    topic = topics.ticks("replay", source)
    topics.create_topics(kafka, topic)
    return topic.name


def recorded(kafka: str, topic: str) -> dict[str, list[TickBlock | Watermark]]:
    found: dict[str, list[TickBlock | Watermark]] = {}
    for partition in partitions_of(kafka, topic):
        for message in read_messages(kafka, topic, partition):
            item = decode(message.key(), message.value(), message.headers())
            found.setdefault(item.symbol, []).append(item)
    return found


def assert_equal_to_the_files(kafka: str, topic: str) -> None:
    for symbol, items in recorded(kafka, topic).items():
        blocks = [item for item in items if isinstance(item, TickBlock)]
        edges = [(block.first_index, block.next_index) for block in blocks]
        assert [first for first, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
        tape = real_ticks(symbol, 2)
        for name in ("timestamp", "price", "volume"):
            joined = np.concatenate([getattr(block, name) for block in blocks])
            assert joined.tobytes() == getattr(tape, name).tobytes()


@pytest.mark.kafka
def test_files_become_one_gapless_sequence_a_symbol(kafka: str, workspace: Workspace) -> None:
    topic = new_topic(kafka, "whole")
    plan = plan_files(workspace, "refinitiv", DAYS)
    done = replay(kafka, topic, plan, end_marks=True)
    assert done.sent == done.ticks == sum(done.symbols.values())
    assert done.read_bytes <= done.total_bytes and not done.rejects
    assert_equal_to_the_files(kafka, topic)
    assert all(items[-1].ends for items in recorded(kafka, topic).values())  # type: ignore[union-attr]
    again = replay(kafka, topic, plan, end_marks=True)
    assert again.sent == 0
    assert sum(isinstance(item, Watermark) for items in recorded(kafka, topic).values() for item in items) == 2


@pytest.mark.kafka
def test_a_stopped_replay_goes_on_without_gap_or_repeat(kafka: str, workspace: Workspace) -> None:
    topic = new_topic(kafka, "stopped")
    plan = plan_files(workspace, "refinitiv", DAYS)
    stop = Event()

    def halfway(progress: ReplayProgress) -> None:
        if progress.ticks > 100_000:
            stop.set()

    first = replay(kafka, topic, plan, stop=stop, on_progress=halfway)
    assert first.stopped and first.sent > 0
    second = replay(kafka, topic, plan)
    assert second.sent == second.ticks - first.sent
    assert_equal_to_the_files(kafka, topic)


@pytest.mark.kafka
@pytest.mark.fault
def test_a_killed_replay_goes_on_without_gap_or_repeat(kafka: str, workspace: Workspace) -> None:
    topic = new_topic(kafka, "killed")
    code = (
        "import sys; from pathlib import Path; from lit.streams.replay import *; from lit.streams.workspace import *;"
        "ws = Workspace(Path(sys.argv[1]), 'demo'); plan = plan_files(ws, 'refinitiv', sys.argv[4:]);"
        "import time; replay(sys.argv[2], sys.argv[3], plan, on_progress=lambda _: time.sleep(0.3))"
    )
    command = [sys.executable, "-c", code, str(workspace.data), kafka, topic, *map(str, DAYS)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not recorded(kafka, topic):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = replay(kafka, topic, plan_files(workspace, "refinitiv", DAYS))
    assert 0 < rest.sent < rest.ticks
    assert_equal_to_the_files(kafka, topic)


@pytest.mark.kafka
def test_a_topic_with_other_ticks_is_refused(kafka: str, workspace: Workspace) -> None:
    topic = new_topic(kafka, "other")
    replay(kafka, topic, plan_files(workspace, "refinitiv", DAYS[:1]))
    longer = replay(kafka, topic, plan_files(workspace, "refinitiv", DAYS[:2]))  # the same beginning: goes on
    assert longer.symbols.keys() == {"IBM.N", "BAC.N"}
    with pytest.raises(UserError, match="other files"):
        replay(kafka, topic, plan_files(workspace, "refinitiv", DAYS[2:3]))


HEADER = "#RIC,Domain,Date-Time,GMT Offset,Type,Price,Volume\n"
GOOD = "X.N,Market Price,2013-10-07T14:00:00.000000000Z,-4,Trade,1.5,100\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress((HEADER + GOOD * 1000).encode())[:-30], "truncated|ends|incomplete|cut"),
        (b"no gzip at all", "gzip"),
        (b"", "empty"),
        (gzip.compress(b"a,b,c\n1,2,3\n"), "Date-Time|column"),
    ],
)
def test_a_broken_file_is_refused_before_any_tick_is_sent(
    content: bytes, reason: str, tmp_path: Path, workspace: Workspace
) -> None:
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"(?i){reason}"):
        plan_files(workspace, "refinitiv", [DAYS[0], path])


@pytest.mark.kafka
def test_bad_rows_are_quarantined_with_their_line_and_the_rest_is_taken(
    kafka: str, tmp_path: Path, workspace: Workspace
) -> None:
    bad = "X.N,Market Price,2013-10-07T14:00:01.000000000Z,-4,Trade,oops,100\n"
    late = "X.N,Market Price,2013-10-07T13:59:00.000000000Z,-4,Trade,1.6,50\n"
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress((HEADER + GOOD + bad + GOOD + late).encode()))
    topic = new_topic(kafka, "rows")
    done = replay(kafka, topic, plan_files(workspace, "refinitiv", [path]))
    assert (done.sent, done.late, sum(done.rejects.values())) == (3, 1, 1)
    kept = next((workspace.root / "logs").rglob("*rows*")).read_text()
    assert "oops" in kept and "3" in kept.splitlines()[-1].split(",")[0]


def test_an_unknown_adapter_and_a_missing_file_are_named(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(UserError, match="refinitiv"):
        plan_files(workspace, "nonesuch", DAYS[:1])
    with pytest.raises(UserError, match=r"absent\.csv\.gz"):
        plan_files(workspace, "refinitiv", [tmp_path / "absent.csv.gz"])
    with pytest.raises(UserError, match="no file"):
        plan_files(workspace, "refinitiv", [])
