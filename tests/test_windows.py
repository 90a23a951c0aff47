"""get_bars, exactly: against a definition written out naively, over datasets and over streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.features.bars import BarBuilder, Bars
from lit.features.dataset import DatasetAdapter, Layout, Segment
from lit.features.intervals import Interval
from lit.features.window import NeedMoreData, SymbolWindow
from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark, tick_block
from tests.tape import SECOND, cut, cuts, real_ticks, tapes

UNITS = [("second", 1), ("min", 1), ("minute", 5), ("tick", 3), ("volume", 150)]


def naive_get_bars(bars: Bars, index: int, count: int, size: int, future: bool, prevent: bool) -> np.ndarray:
    """Section 'get_bars, exactly' of the contract, word by word, over all bars of the finished sequence."""
    if not 0 <= index < size:
        return np.empty((0, 8))
    holding = [n for n in range(len(bars)) if bars.first_index[n] <= index]
    if not holding:
        return np.empty((0, 8))
    b = holding[-1]
    if future:
        rows = range(b + 1 if prevent else b, len(bars))[:count]
    else:
        rows = range(0, b if prevent else b + 1)[-count:]
    return bars.values[list(rows)].reshape(-1, 8)


def all_bars(tape: TickBlock, unit: str, size: int) -> Bars:
    builder = BarBuilder(Interval.of(unit, size))
    return Bars.concat([builder.update(tape), builder.advance(END_OF_TIME)])


@given(
    tapes(min_size=5),
    st.sampled_from(UNITS),
    st.integers(1, 6),
    st.integers(-3, 65),
    st.booleans(),
    st.booleans(),
)
def test_a_dataset_returns_what_the_definition_says(tape, unit, count, index, future, prevent) -> None:  # type: ignore[no-untyped-def]
    adapter = DatasetAdapter.of_blocks([tape])
    expected = naive_get_bars(all_bars(tape, *unit), index, count, len(tape), future, prevent)
    got = adapter.get_bars(index, count, *unit, future=future, prevent_lookahead_bias=prevent)
    assert got.tobytes() == expected.tobytes() and got.shape == expected.shape
    values, lengths = adapter.get_bars_batch(np.array([index]), count, *unit, future, prevent)
    assert values.shape == (1, count, 8)
    assert values[0, : lengths[0]].tobytes() == expected.tobytes()
    assert np.isnan(values[0, lengths[0] :]).all()


@given(
    st.data(),
    tapes(min_size=5),
    st.sampled_from(UNITS),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)
def test_a_stream_waits_or_says_the_same_as_the_finished_dataset(data, tape, unit, count, future, prevent) -> None:  # type: ignore[no-untyped-def]
    finished = DatasetAdapter.of_blocks([tape])
    window = SymbolWindow("XYZ", [Interval.of(*unit)] if data.draw(st.booleans()) else [])
    for block in cut(tape, data.draw(cuts(len(tape)))):
        window.feed(block)
        for index in range(-1, window.next_index + 1):
            try:
                got = window.get_bars(index, count, *unit, future=future, prevent_lookahead_bias=prevent)
            except NeedMoreData:
                continue
            expected = finished.get_bars(index, count, *unit, future=future, prevent_lookahead_bias=prevent)
            assert got.tobytes() == expected.tobytes()
    window.feed(Watermark("XYZ", END_OF_TIME, window.next_index))
    for index in range(-1, len(tape) + 2):
        got = window.get_bars(index, count, *unit, future=future, prevent_lookahead_bias=prevent)
        expected = finished.get_bars(index, count, *unit, future=future, prevent_lookahead_bias=prevent)
        assert got.tobytes() == expected.tobytes()


def test_the_past_of_the_forming_bar_is_at_hand_and_the_bar_itself_is_not() -> None:
    minute = 60 * SECOND
    window = SymbolWindow("X")
    window.feed(tick_block("X", 0, [minute, 2 * minute, 2 * minute + 1], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]))
    assert window.get_bars(2, 5, "minute", 1)[:, 0].tolist() == [1.0]
    with pytest.raises(NeedMoreData):
        window.get_bars(2, 5, "minute", 1, prevent_lookahead_bias=False)
    with pytest.raises(NeedMoreData):
        window.get_bars(2, 1, "minute", 1, future=True)
    window.feed(Watermark("X", 3 * minute, 3))
    assert window.get_bars(2, 5, "minute", 1, prevent_lookahead_bias=False)[:, 3].tolist() == [1.0, 3.0]


@given(st.data(), tapes(min_size=3))
def test_ticks_and_columns_are_those_of_the_tape(data: st.DataObject, tape: TickBlock) -> None:
    window = SymbolWindow("XYZ")
    for block in cut(tape, data.draw(cuts(len(tape)))):
        window.feed(block)
    indices = np.array(data.draw(st.lists(st.integers(0, len(tape) - 1), min_size=1)))
    assert (window.column("Price", indices) == tape.price[indices]).all()
    assert window[int(indices[0])] == tape.packet(int(indices[0]))
    with pytest.raises(NeedMoreData) as lacking:
        window.column("timestamp", np.append(indices, len(tape)))
    assert lacking.value.served == len(indices)


def test_old_ticks_are_let_go_and_what_is_kept_stays_right() -> None:
    tape = real_ticks("BAC.N")
    window = SymbolWindow("BAC.N", [Interval.parse("1minute")])
    for start in range(0, len(tape), 8192):
        window.feed(tape.slice(start, start + 8192))
        window.trim(window.next_index)
    assert sum(len(block) for block in window._blocks) < 250_000
    last = len(tape) - 1
    assert (
        window.column("Price", np.array([last - 50_000, last])).tolist() == tape.price[[last - 50_000, last]].tolist()
    )
    expected = DatasetAdapter.of_blocks([tape]).get_bars(last, 500, "minute", 1)
    assert window.get_bars(last, 500, "minute", 1).tobytes() == expected.tobytes()


def test_several_symbols_are_one_dataset() -> None:
    ibm, bac = real_ticks("IBM.N", 2), real_ticks("BAC.N", 1)
    half = len(ibm) // 2
    adapter = DatasetAdapter.of_blocks([ibm.slice(0, half), bac, ibm.slice(half)])
    assert isinstance(adapter, TradersBaseAdapter)
    assert len(adapter) == len(ibm) + len(bac)
    at = half + len(bac) + 10
    assert adapter[at] == {**ibm.packet(half + 10), "index": at}
    alone = DatasetAdapter.of_blocks([ibm])
    assert adapter.get_bars(at, 30, "minute", 1).tobytes() == alone.get_bars(half + 10, 30, "minute", 1).tobytes()
    mixed = np.array([5, half + 7, at])
    assert adapter.column("Price", mixed).tolist() == [ibm.price[5], bac.price[7], ibm.price[half + 10]]


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 5)), min_size=1, max_size=8))
def test_a_layout_maps_there_and_back(parts: list[tuple[str, int]]) -> None:
    layout = Layout(Segment(symbol, count) for symbol, count in parts)
    seen: dict[str, int] = {}
    for index in range(len(layout)):
        symbol, position = layout.locate(index)
        assert position == seen.get(symbol, 0)
        seen[symbol] = position + 1
        assert layout.indices(symbol, np.array([position])).tolist() == [index]
    for outside in (-1, len(layout)):
        with pytest.raises(IndexError):
            layout.locate(outside)
