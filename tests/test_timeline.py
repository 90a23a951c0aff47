"""Paced replays: the same ticks in market time, minutes closed by watermarks, waiting as the clock says."""

from __future__ import annotations

import time
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.features.bars import BarBuilder, Bars
from lit.features.intervals import Interval
from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.codec import decode
from lit.streams.replay import plan_files, replay
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark, from_iso
from lit.streams.timeline import Clock, Pace, timeline
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, SECOND, cut, cuts, real_ticks, tapes

MINUTE = Interval.parse("1minute")


def file_of(tape: TickBlock, symbol: str, places: list[int]) -> list[tuple[str, str, object]]:
    return [("m", symbol, block.batch) for block in cut(tape, places) if len(block)]


@given(st.data(), tapes(), tapes(), st.sampled_from([0.5, 60.0, 5000.0]), st.integers(-1, 60))
def test_merged_files_are_the_same_ticks_in_market_time(data, one, two, speed, start) -> None:  # type: ignore[no-untyped-def]
    begin = int(one.timestamp[0]) + start * SECOND
    files = [iter(file_of(tape, symbol, data.draw(cuts(len(tape))))) for tape, symbol in ((one, "A"), (two, "B"))]
    positions: dict[str, int] = {}
    builders = {symbol: BarBuilder(MINUTE) for symbol in "AB"}
    ticks: dict[str, list[TickBlock]] = {"A": [], "B": []}
    bars: dict[str, list[Bars]] = {"A": [], "B": []}
    for _, item, due in timeline(files, Pace(speed, begin), positions):  # type: ignore[arg-type]
        builder = builders[item.symbol]
        if isinstance(item, Watermark):
            assert item.next_index == builder.next_index and due == item.timestamp
            bars[item.symbol].append(builder.advance(item.timestamp))
        else:
            assert item.first_index == builder.next_index and due == int(item.timestamp[-1])
            ticks[item.symbol].append(item)
            bars[item.symbol].append(builder.update(item))
    for tape, symbol in ((one, "A"), (two, "B")):
        joined = np.concatenate([block.timestamp for block in ticks[symbol]])
        assert joined.tobytes() == tape.timestamp.tobytes() and positions[symbol] == len(tape)
        plain = BarBuilder(MINUTE)
        expected = Bars.concat([plain.update(tape), plain.advance(END_OF_TIME)])
        got = Bars.concat([*bars[symbol], builders[symbol].advance(END_OF_TIME)])
        in_order = (np.diff(tape.timestamp) >= 0).all()
        if in_order:  # a watermark changes no bar of ticks in order
            assert got.values.tobytes() == expected.values.tobytes()


def test_two_symbols_are_in_step_and_no_watermark_makes_a_tick_late() -> None:
    tapes_ = {symbol: real_ticks(symbol, 2) for symbol in ("IBM.N", "BAC.N")}
    files = [iter(file_of(tape, symbol, list(range(0, len(tape), 8192)))) for symbol, tape in tapes_.items()]
    pace = Pace(60.0, from_iso("2013-10-08T13:30:00Z"))
    last, closed = 0, 0
    builders = {symbol: BarBuilder(MINUTE) for symbol in tapes_}
    for _, item, due in timeline(files, pace, {}):  # type: ignore[arg-type]
        if due >= pace.start:
            assert due >= last - pace.step
            last = max(last, due)
        builder = builders[item.symbol]
        if isinstance(item, Watermark):
            closed += len(builder.advance(item.timestamp))
        else:
            builder.update(item)
    assert closed > 700 and not any(builder.late for builder in builders.values())


def test_the_clock_keeps_pace_and_cuts_silences_short() -> None:
    clock = Clock(Pace(1000.0, max_gap=0.2), Event())
    began = time.monotonic()
    for second in range(0, 300, 10):
        clock.wait(second * SECOND)
    assert time.monotonic() - began >= 0.28
    began = time.monotonic()
    clock.wait(10**6 * SECOND)  # would be 1,000 s
    assert time.monotonic() - began < 60


@pytest.mark.kafka
def test_a_paced_replay_stopped_and_gone_on_is_one_sequence(kafka: str, workspace: Workspace) -> None:
    topic = topics.ticks("paced", "stream")
    topics.create_topics(kafka, topic)
    plan = plan_files(workspace, "refinitiv", [SAMPLES / f"{s}_20131007.csv.gz" for s in ("IBM.N", "BAC.N")])
    pace = Pace(20_000.0, from_iso("2013-10-07T14:00:00Z"), max_gap=0.05)
    stop = Event()
    first = replay(kafka, topic.name, plan, pace=pace, stop=stop, on_progress=lambda p: p.sent > 40_000 and stop.set())
    assert first.stopped
    second = replay(kafka, topic.name, plan, pace=pace)
    assert first.sent + second.sent == sum(len(real_ticks(s, 1)) for s in ("IBM.N", "BAC.N"))
    for partition in range(topics.PARTITIONS):
        positions: dict[str, int] = {}
        for message in read_messages(kafka, topic.name, partition):
            item = decode(message.key(), message.value(), message.headers())
            if isinstance(item, TickBlock):
                assert item.first_index == positions.get(item.symbol, 0)
                positions[item.symbol] = item.next_index
        for symbol, count in positions.items():
            assert count == len(real_ticks(symbol, 1))
