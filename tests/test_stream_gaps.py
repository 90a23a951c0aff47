"""Gaps in the tick topic: every consumer tolerates them, and bars do not change by them; sequences judged; clocks."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lit.features.bars import BarBuilder, Bars
from lit.features.intervals import Interval
from lit.streams.catalogue import describe
from lit.streams.codec import decode, encode
from lit.streams.live_blocks import Blocks, SymbolState
from lit.streams.live_clock import MINUTE, SECOND, FeedClock
from lit.streams.live_run import Backoff
from lit.streams.live_state import LiveState
from lit.streams.sequence import Sequence, Verdict
from lit.streams.tick import END_OF_TIME, Gap, TickBlock, Watermark
from tests.tape import cut, cuts, tapes

UNITS = ["1minute", "5second", "1day", "3tick", "250volume"]


@given(st.data(), tapes(), st.sampled_from(UNITS))
def test_a_gap_closes_no_bar_and_changes_none(data: st.DataObject, tape: TickBlock, unit: str) -> None:
    plain, marked = BarBuilder(Interval.parse(unit)), BarBuilder(Interval.parse(unit))
    expected = Bars.concat([plain.update(tape), plain.advance(END_OF_TIME)])
    found, last = [], 0
    for block in cut(tape, data.draw(cuts(len(tape)))):
        if not len(block):
            continue
        found.append(marked.update(block))
        last = max(last, int(block.timestamp.max()))
        gap = Watermark("XYZ", last, block.next_index, gap=Gap("reconnect", None, last, last + 5))
        found.append(marked.advance(gap.timestamp))
    found.append(marked.advance(END_OF_TIME))
    assert Bars.concat(found).values.tobytes() == expected.values.tobytes()


@given(st.text("abc ", min_size=1), st.none() | st.integers(0, 10**9), st.none() | st.integers(0, 2**62), st.booleans())
def test_a_gap_travels_whole_and_is_shown(reason: str, missed: int | None, since: int | None, whole: bool) -> None:
    item = Watermark("AAA", 5 * SECOND, 7, gap=Gap(reason, missed, since, since))
    message = encode(item)
    assert decode(message.key, message.value, message.headers) == item
    assert dict(message.headers)["gap"] == reason.encode()

    class Message:
        key, value, headers = (lambda *_: message.key), (lambda *_: message.value), (lambda *_: message.headers)

    (line,) = describe("ticks", Message(), whole)
    assert "gap" in line.lower() and "AAA" in line and reason in line


@given(st.lists(st.integers(1, 40), min_size=1, max_size=80), st.integers(0, 80), st.integers(0, 80))
def test_a_sequence_takes_each_number_once_and_knows_what_is_missing(
    numbers: list[int], first: int, second: int
) -> None:
    whole = Sequence("contiguous")
    taken = [number for number in numbers if whole.take(number) is not Verdict.REPEAT]
    assert len(set(taken)) == len(taken) and set(taken) == {n for n in numbers if n >= numbers[0]}
    missed, _ = whole.gaps(1e9)
    assert missed == max(taken) - numbers[0] + 1 - len(taken) and whole.gaps(1e9) == (0, 0)
    # stopped anywhere and restored, it judges the same
    broken, judged = Sequence("contiguous"), []
    for place, number in enumerate(numbers):
        if place in (first, second):
            broken = Sequence("contiguous", broken.state)
        judged.append(broken.take(number))
    again = Sequence("contiguous")
    assert judged == [again.take(number) for number in numbers]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(0, 60), st.sampled_from(["contiguous", "none"])
)
def test_a_state_read_from_the_topic_is_the_one_that_wrote_it(numbers: list[int], since: int, numbering: Any) -> None:
    states: dict[str, SymbolState] = {}
    blocks, sent = Blocks(states, numbering), list[Any]()
    checkpoint = LiveState()
    for place, number in enumerate(numbers):
        if place == since:  # a checkpoint, and offsets that are older than it
            sent += list(blocks.flush())
            checkpoint = msgspec.json.decode(msgspec.json.encode(LiveState(symbols=states)), type=LiveState)
        tick = {"symbol": "A", "timestamp": 10**18 + number, "Price": 1.0, "Volume": 1.0, "Seq. No.": number}
        blocks.add(tick, float(place))
        if number % 3 == 0:
            sent += list(blocks.flush())
        if number % 5 == 0:  # holes that stayed open for a while are told; younger ones are not
            sent += list(blocks.flush())
            for _, missed, since in blocks.gaps(place - 3.0):
                states["A"].told += 1
                mark = Watermark("A", states["A"].last, states["A"].next_index, gap=Gap("sequence", missed, since))
                sent.append(mark)
    sent += list(blocks.flush())
    for state in (LiveState(), checkpoint):
        told = 0
        for item in sent:
            if isinstance(item, Watermark):
                state.apply(item, {}, numbering, told := told + 1)
            else:
                state.apply(item.block, item.sequence, numbering)
        restored, original = state.symbols["A"], states["A"]
        assert (restored.next_index, restored.last) == (original.next_index, original.last)
        for channel, known in original.sequences.items():
            mine = restored.sequences[channel]
            assert mine.last == known.last
            holes = [[(hole.first, hole.last, hole.marked) for hole in one.holes] for one in (mine, known)]
            assert holes[0] == holes[1]


def test_the_clock_follows_the_feed_however_far_behind_it_is() -> None:
    clock = FeedClock(MINUTE, 2 * SECOND)
    assert list(clock.due(10**19)) == []  # no tick yet: nobody knows the time
    wall = 2_000_000 * MINUTE
    delayed = wall - 900 * SECOND  # by a quarter of an hour
    clock.saw("A", delayed + 10 * SECOND, wall + 10 * SECOND, 0)
    assert list(clock.due(wall + 61 * SECOND)) == []  # its minute is over, but a tick may be under way
    assert list(clock.due(wall + 63 * SECOND)) == [("A", delayed + MINUTE)]
    assert list(clock.due(wall + 500 * SECOND)) == []  # each once
    clock.saw("A", delayed + 5 * SECOND, wall + 64 * SECOND, delayed + MINUTE)  # a late one opens nothing
    assert list(clock.due(wall + 500 * SECOND)) == []


def test_attempts_become_rarer_and_are_spread() -> None:
    backoff = Backoff(0.5, 30.0)
    assert [backoff.delay(failures, 0.0) for failures in (1, 2, 3, 7, 50)] == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert backoff.delay(3, 0.5) == 1.5
