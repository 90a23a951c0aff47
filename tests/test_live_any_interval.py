"""WebSocket bars of intervals that no worker publishes: history and live are one sequence, that of the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.api.live import hub
from lit.api.live.computed import ComputedBars
from lit.features.bars import BarBuilder
from lit.features.intervals import Interval
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.records import Bar
from lit.streams.tick import TickBlock, Watermark
from lit.streams.topics import ticks
from tests.tape import cut, tapes
from tests.test_api_live import Server, plain, receive, server, tape, until

__all__ = ["server"]


def bars_of(interval: str, stop: int) -> list[Bar]:
    return list(BarBuilder(Interval.parse(interval)).update(tape().slice(0, stop)).records("IBM.N", interval))


@pytest.mark.kafka
@pytest.mark.parametrize("interval", ["7minute", "250tick"])
def test_stored_history_and_live_ticks_are_one_sequence_with_its_open_bar(server: Server, interval: str) -> None:
    team, stored, half, later = f"join-{interval}", 5_123, 9_100, 12_900
    server.services.stores.team(team).insert("tape", 0, [(0, tape().slice(0, stored))])  # the sink is behind
    server.ticks(team, tape().slice(0, half))
    with server.live(team, f"&interval={interval}") as socket, server.live(team, f"&interval={interval}") as other:
        snapshot = until(socket, "snapshot")
        bars = snapshot["bars"]
        assert bars == [plain(bar) for bar in bars_of(interval, half)][-500:] != []
        builder = BarBuilder(Interval.parse(interval))
        builder.update(tape().slice(0, half))
        forming = snapshot["forming"]
        assert forming.pop("last_timestamp") and [forming] == [
            plain(b) for b in builder.forming().records("IBM.N", interval)
        ]
        assert until(other, "snapshot")["bars"] == bars
        server.ticks(team, tape().slice(half, later), size=40)
        expected = [plain(bar) for bar in bars_of(interval, later)[len(bars_of(interval, half)) :]]
        for client in (socket, other):
            assert [until(client, "bar")["bar"] for _ in expected] == expected != []


@pytest.mark.kafka
def test_a_quiet_market_s_bar_closes_by_the_watermark(server: Server) -> None:
    team, count = "quiet", 5_000
    server.ticks(team, tape().slice(0, count))
    with server.live(team, "&interval=7minute") as socket:
        forming = until(socket, "snapshot")["forming"]
        end = int(tape().timestamp[count - 1]) + 8 * 60 * 10**9
        message = encode(Watermark("IBM.N", end, count))
        sender = producer(server.services.config.bootstrap)
        sender.produce(ticks(team, "tape").name, message.value, message.key, headers=message.headers)
        sender.flush(30)
        forming.pop("last_timestamp")
        assert until(socket, "bar")["bar"] == forming


@pytest.mark.kafka
def test_series_are_bounded_and_those_watched_stay(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "COMPUTED", 2)
    monkeypatch.setattr("lit.api.live.view.IDLE_SECONDS", 0.0)
    server.ticks("many", tape().slice(0, 3000))
    with server.live("many", "&interval=3minute") as first:
        assert until(first, "snapshot")["bars"]
        with server.live("many", "&interval=4minute") as second:
            assert until(second, "snapshot")["bars"]
            with server.live("many", "&interval=6minute") as third:
                assert "2 intervals" in receive(third)["detail"]
        for interval in ("6minute", "4minute"):  # who left makes room, and may come back
            with server.live("many", f"&interval={interval}") as again:
                assert until(again, "snapshot")["bars"] == [plain(bar) for bar in bars_of(interval, 3000)]


@given(tapes(max_size=80), st.data())
def test_bars_and_open_bar_are_the_kernel_s_wherever_history_stops(block: TickBlock, data: st.DataObject) -> None:
    interval = Interval.parse(data.draw(st.sampled_from(["1minute", "30second", "3tick", "500volume"])))
    whole, history, key = BarBuilder(interval), BarBuilder(interval), (str(interval), block.symbol)
    expected = list(whole.update(block).records(block.symbol, interval))
    stop = data.draw(st.integers(0, len(block)))
    found = list(history.update(block.slice(0, stop)).records(block.symbol, interval))
    begin = data.draw(st.integers(0, stop))  # the topic is read from somewhere before
    series = ComputedBars()
    series.add(key, history.state)
    for part in cut(block, sorted({begin, *data.draw(st.lists(st.integers(begin, len(block)), max_size=4))}))[1:]:
        bars, _, gap = series.take(part)
        assert not gap
        found += bars
    assert found == expected
    row = series.row(key)
    assert (row and row.ordinal) == next((b.ordinal for b in whole.forming().records(block.symbol, interval)), None)


def test_a_hole_is_read_again_once_and_never_bridged() -> None:
    series, key = ComputedBars(), ("1minute", "IBM.N")
    series.add(key, BarBuilder(Interval.parse("1minute")).state)
    assert series.take(tape().slice(500, 1000)) == ([], set(), True)
    assert series.take(tape().slice(500, 1000)) == ([], set(), False)
    bars, changed, gap = series.take(tape().slice(0, 1000))
    assert changed == {key} and not gap and bars == bars_of("1minute", 1000)
