"""What a prediction was made of is read from shortly before it: the same as from the first tick, however long it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lit.features.bars import BarBuilder
from lit.features.intervals import Interval
from lit.serving import insight_ticks
from lit.serving.config import DeploymentConfig
from lit.serving.insight_record import Found
from lit.serving.insight_ticks import recorded_ticks
from lit.serving.insight_window import PastWindow, Recorded, window_of
from lit.serving.insights import Insights
from lit.serving.predictions import inputs_digest
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.errors import UserError
from lit.streams.records import Bar, Prediction
from lit.streams.tick import TickBlock, Watermark, from_iso, iso, tick_block
from tests.tape import real_ticks

pytestmark = pytest.mark.kafka
TEAM, MINUTE = "back", Interval.parse("1minute")
WEEK = 7 * 86_400 * 10**9


@pytest.fixture(scope="module")
def tape() -> TickBlock:
    return real_ticks("IBM.N", 1).slice(0, 12_000)


def later(tape: TickBlock, times: int) -> TickBlock:
    """The same trades a week later each time, as one sequence."""
    shift = np.repeat(np.arange(times) * WEEK, len(tape))
    values = (np.tile(one, times) for one in (tape.price, tape.volume))
    return tick_block(tape.symbol, 0, np.tile(tape.timestamp, times) + shift, *values)


def record(kafka: str, stream: str, tapes: Sequence[TickBlock], size: int = 100) -> DeploymentConfig:
    """Send blocks of several symbols in turns, stamped as feeds do, every tenth one twice; return who reads them."""
    config = DeploymentConfig(kafka, TEAM, stream, stream, MINUTE)
    topics.create_topics(kafka, topics.ticks(TEAM, stream))
    sender = producer(kafka)
    for at in range(0, max(map(len, tapes)), size):
        for tape in tapes:
            block = tape.slice(at, at + size)
            if not len(block):
                continue
            mark = Watermark(tape.symbol, int(block.timestamp[-1]), block.next_index)
            for item in (block, *([block] if at % (10 * size) == 0 else []), mark):
                message = encode(item)
                sender.produce(
                    config.ticks_topic,
                    key=message.key,
                    value=message.value,
                    headers=message.headers,
                    partition=0,
                    timestamp=int(block.timestamp[-1]) // 1_000_000,
                )
    assert sender.flush(60) == 0
    return config


def made_at(bar: Bar) -> Found:
    said = Prediction("d", "m", bar.symbol, "1minute", bar.start, bar.last_index, [0.5], "", bar.ordinal, bar.end, 0.0)
    return Found(said, 0)


def minutes(tape: TickBlock) -> list[Bar]:
    return list(BarBuilder(MINUTE).update(tape).records("IBM.N", "1minute"))


def read(config: DeploymentConfig, found: Found, count: int | None, folder: Path) -> PastWindow:
    lacking = ["1minute", "5minute"]
    return window_of(recorded_ticks(config, found, Recorded(found.prediction.symbol), lacking, count, folder / "ticks"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Offsets of the messages that are read."""
    offsets: list[int] = []
    whole = insight_ticks.read_messages

    def reads(*arguments: Any) -> Iterator[Any]:
        for message in whole(*arguments):
            offsets.append(int(message.offset() or 0))
            yield message

    monkeypatch.setattr(insight_ticks, "read_messages", reads)
    return offsets


def test_ticks_and_bars_are_those_of_the_whole_history(kafka: str, tape: TickBlock, tmp_path: Path) -> None:
    other = real_ticks("BAC.N", 1).slice(0, 12_000)
    config = record(kafka, "whole", [tape, other])
    bars = minutes(tape)
    compared = 0
    for bar in (bars[1], bars[40], bars[-30], bars[-1]):
        index = bar.last_index
        full = read(config, made_at(bar), None, tmp_path)
        for count in (1, 700, 5000, 20_000):
            near = read(config, made_at(bar), count, tmp_path)
            wanted = np.arange(max(0, index - count), index + 1)
            assert near.column("Price", wanted).tobytes() == full.column("Price", wanted).tobytes()
            assert near[index] == full[index] and not near.short
            for unit, size, rows, whole_bar in (
                ("minute", 1, 3, True),
                ("minute", 1, 60, False),
                ("minute", 5, 4, True),
            ):
                near.short = False
                asked = (index, rows, unit, size, False, whole_bar)
                found = near.get_bars(*asked)
                if not near.short:
                    assert found.tobytes() == full.get_bars(*asked).tobytes()
                    compared += 1
            if near._begin:
                near.short = False
                with pytest.raises(UserError):
                    near.column("Price", np.array([near._begin - 1]))
                assert near.short
    assert compared > 20


def test_what_is_read_does_not_grow_with_the_topic(
    kafka: str, tape: TickBlock, tmp_path: Path, counted: list[int]
) -> None:
    bar = minutes(tape)[-20]
    numbers = []
    for times, place in ((1, 0), (10, 4)):
        config = record(kafka, f"times-{times}", [later(tape, times)])
        found = made_at(
            msgspec.structs.replace(
                bar,
                start=iso(from_iso(bar.start) + place * WEEK),
                last_index=bar.last_index + place * len(tape),
            )
        )
        counted.clear()
        window = read(config, found, 1000, tmp_path)
        assert window[found.prediction.index]["Price"] == tape.price[bar.last_index]
        numbers.append(len(counted))
    short, long = numbers
    assert short < 150 and long < short + 50, numbers


class Here:
    """Computes inputs in this process: three bars of five minutes."""

    def __init__(self) -> None:
        self.begins: list[int] = []

    def ask(self, team: str, question: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if question == "reads":
            return {"intervals": ["5minute"], "ticks": False}
        recorded = msgspec.convert(arguments["recorded"], Recorded)
        self.begins.append(recorded.begin)
        window = window_of(recorded)
        value = window.get_bars(arguments["index"], 3, "minute", 5)
        return {"short": window.short, "inputs": value, "digest": inputs_digest({"bars": value})}


def test_bars_that_late_ticks_before_those_read_first_would_spoil_are_read_further_back(
    kafka: str, tape: TickBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = tape.timestamp.copy()
    stamps[6000:9000] -= 2 * 3600 * 10**9  # sent again by mistake
    spoilt = tick_block(tape.symbol, 0, stamps, tape.price, tape.volume)
    config = record(kafka, "late", [spoilt])
    bar = next(bar for bar in minutes(spoilt) if bar.last_index > 9100)
    full = read(config, made_at(bar), None, tmp_path).get_bars(bar.last_index, 3, "minute", 5)
    found = Found(msgspec.structs.replace(made_at(bar).prediction, inputs_digest=inputs_digest({"bars": full})), 0)
    monkeypatch.setattr("lit.serving.insights._TICKS", bar.last_index - 6500)
    here = Here()
    answer = Insights(tmp_path, kafka, here)._recomputed(config, found)  # type: ignore[arg-type]
    assert answer["inputs"].tobytes() == full.tobytes() and len(full) == 3
    assert here.begins[0] > 6000 and here.begins[-1] < 6000


def test_bars_of_ticks_are_refused_beyond_a_limit_of_what_is_read_not_of_where_it_is(
    kafka: str, tape: TickBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = record(kafka, "limit", [tape])
    bar = minutes(tape)[-20]
    monkeypatch.setattr(insight_ticks, "MAX_TICKS", 3000)
    assert read(config, made_at(bar), 1000, tmp_path)._begin > 0
    with pytest.raises(UserError, match="more than 3,000 ticks"):
        read(config, made_at(bar), None, tmp_path)
