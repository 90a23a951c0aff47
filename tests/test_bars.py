"""The bar kernel: equal to the third party's bars and to an independent computation, however ticks are cut."""

from __future__ import annotations

from dataclasses import fields

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.features.bars import BarBuilder, Bars, BarState
from lit.features.intervals import Interval, TimeGrid
from lit.streams.errors import UserError
from lit.streams.records import decode_bars, encode_json
from lit.streams.tick import END_OF_TIME, TickBlock, from_iso, tick_block
from tests.tape import SAMPLES, SECOND, cut, cuts, real_ticks, tapes

INTERVALS = ["1second", "1minute", "5minute", "1hour", "1day", "3tick", "150volume", "2000dollar"]


def build(interval: str, blocks: list[TickBlock], end: bool = True) -> Bars:
    builder = BarBuilder(Interval.parse(interval))
    parts = [builder.update(block) for block in blocks]
    return Bars.concat([*parts, builder.advance(END_OF_TIME)] if end else parts)


def same(left: Bars, right: Bars) -> bool:
    return all(getattr(left, f.name).tobytes() == getattr(right, f.name).tobytes() for f in fields(Bars))


@pytest.mark.parametrize("symbol", ["IBM.N", "BAC.N"])
def test_every_minute_of_the_third_party_is_met_exactly(symbol: str) -> None:
    bars = build("1minute", [real_ticks(symbol)])
    theirs = pd.read_csv(SAMPLES / f"{symbol}_third_party_minutes.csv")
    ours = pd.DataFrame(bars.values[:, [0, 1, 2, 3, 5]], index=bars.start)
    minutes = [from_iso(text) for text in theirs["minute"]]
    assert len(minutes) > 1000
    np.testing.assert_array_equal(ours.loc[minutes].to_numpy(), theirs.iloc[:, 1:].to_numpy(float))


@pytest.mark.parametrize("interval", ["1second", "1minute", "5minute", "1hour"])
def test_time_bars_equal_an_independent_computation(interval: str) -> None:
    ticks = real_ticks("IBM.N")
    bars = build(interval, [ticks])
    unit = {"second": "s", "minute": "m", "hour": "h"}[Interval.parse(interval).unit]
    frame = pl.DataFrame({"t": ticks.timestamp, "p": ticks.price, "v": ticks.volume}).with_row_index("i")
    theirs = (
        frame.with_columns(pl.col("t").cast(pl.Datetime("ns")))
        .group_by_dynamic("t", every=f"{Interval.parse(interval).size}{unit}")
        .agg(
            pl.col("p").first().alias("open"),
            pl.col("p").max().alias("high"),
            pl.col("p").min().alias("low"),
            pl.col("p").last().alias("close"),
            pl.len().cast(pl.Float64).alias("trades"),
            pl.col("v").sum().alias("volume"),
            pl.col("v").mean().alias("mean"),
            pl.col("v").max().alias("max"),
            pl.col("i").first().alias("first"),
            pl.col("i").last().alias("last"),
        )
    )
    np.testing.assert_array_equal(bars.start, theirs["t"].cast(pl.Int64).to_numpy())
    np.testing.assert_allclose(bars.values, theirs.to_numpy()[:, 1:9].astype(float), rtol=1e-15)
    np.testing.assert_array_equal(bars.first_index, theirs["first"].to_numpy())
    np.testing.assert_array_equal(bars.last_index, theirs["last"].to_numpy())
    np.testing.assert_array_equal(bars.ordinal, np.arange(len(bars)))


@given(st.data(), tapes(), st.sampled_from(INTERVALS))
def test_any_cut_and_any_restart_gives_the_same_bytes(data: st.DataObject, tape: TickBlock, interval: str) -> None:
    whole = build(interval, [tape])
    places = data.draw(cuts(len(tape)))
    assert same(build(interval, cut(tape, places)), whole)
    parts, state = [], BarState()
    for block in cut(tape, places):  # a restart between any two blocks, state through JSON
        builder = BarBuilder(Interval.parse(interval), state=msgspec.json.decode(encode_json(state), type=BarState))
        parts.append(builder.update(block))
        state = builder.state
    parts.append(BarBuilder(Interval.parse(interval), state=state).advance(END_OF_TIME))
    assert same(Bars.concat(parts), whole)


@given(tapes())
def test_a_late_tick_changes_no_bar_and_is_counted(tape: TickBlock) -> None:
    cell = tape.timestamp // (60 * SECOND)
    in_time = cell >= np.maximum.accumulate(cell)
    builder = BarBuilder(Interval.parse("1minute"))
    bars = Bars.concat([builder.update(tape), builder.advance(END_OF_TIME)])
    kept = tick_block("XYZ", 0, tape.timestamp[in_time], tape.price[in_time], tape.volume[in_time])
    assert builder.late == int((~in_time).sum())
    assert bars.values.tobytes() == build("1minute", [kept]).values.tobytes()


@given(tapes(), st.sampled_from(["1second", "1minute", "1hour"]))
def test_bars_partition_the_ticks_in_time(tape: TickBlock, interval: str) -> None:
    bars = build(interval, [tape])
    assert (bars.start[1:] >= bars.end[:-1]).all()
    assert (bars.first_index[1:] > bars.last_index[:-1]).all()
    assert (bars.values[:, 2] <= bars.values[:, [0, 3]].min(axis=1)).all()
    assert (bars.values[:, 1] >= bars.values[:, [0, 3]].max(axis=1)).all()


def test_a_watermark_closes_what_ends_by_then_and_makes_earlier_ticks_late() -> None:
    minute = 60 * SECOND
    builder = BarBuilder(Interval.parse("1minute"))
    assert len(builder.update(tick_block("X", 0, [10 * minute + 5], [1.0], [1.0]))) == 0
    assert len(builder.advance(11 * minute - 1)) == 0
    assert len(builder.advance(11 * minute)) == 1
    assert len(builder.advance(11 * minute)) == 0
    assert len(builder.update(tick_block("X", 1, [10 * minute + 9], [2.0], [1.0]))) == 0
    assert builder.late == 1 and len(builder.forming()) == 0


@pytest.mark.parametrize(("interval", "measure"), [("1000tick", 4), ("100000volume", 5)])
def test_count_bars_close_as_soon_as_their_size_is_reached(interval: str, measure: int) -> None:
    bars = build(interval, [real_ticks("IBM.N")], end=False)
    size = Interval.parse(interval).size
    ticks = real_ticks("IBM.N")
    assert (bars.values[:, measure] >= size).all()
    last = ticks.volume[bars.last_index] if measure == 5 else 1.0
    assert (bars.values[:, measure] - last < size).all()
    assert (bars.first_index[1:] == bars.last_index[:-1] + 1).all()


def test_a_day_is_the_exchanges_own_through_both_clock_changes() -> None:
    grid = TimeGrid(Interval.parse("1day"), "America/New_York")
    for noon, hours in [("2013-11-03T17:00:00Z", 25), ("2013-03-10T16:00:00Z", 23), ("2013-10-08T16:00:00Z", 24)]:
        cell = grid.cells(np.array([from_iso(noon)]))
        assert (grid.end(cell) - grid.start(cell))[0] == hours * 3600 * SECOND
    evening = grid.cells(np.array([from_iso("2013-10-08T03:59:59Z"), from_iso("2013-10-08T04:00:00Z")]))
    assert evening[1] == evening[0] + 1


def test_a_block_out_of_sequence_is_refused() -> None:
    builder = BarBuilder(Interval.parse("1minute"))
    with pytest.raises(ValueError, match="expected 0"):
        builder.update(tick_block("X", 3, [1], [1.0], [1.0]))


def test_records_survive_json_bit_for_bit() -> None:
    bars = build("1minute", [real_ticks("IBM.N", 1)])
    records = list(bars.records("IBM.N", "1minute"))
    assert decode_bars(encode_json(records)) == records
    assert decode_bars(encode_json(records[0])) == records[:1]


@pytest.mark.parametrize("text", ["minute", "0minute", "1fortnight", "", "1.5minute"])
def test_a_wrong_interval_is_a_users_mistake(text: str) -> None:
    with pytest.raises(UserError):
        Interval.parse(text)


@pytest.mark.parametrize(("text", "name"), [("5min", "5minute"), ("10secs", "10second"), ("2hours", "2hour")])
def test_short_units_and_plurals_are_accepted(text: str, name: str) -> None:
    assert str(Interval.parse(text)) == name
