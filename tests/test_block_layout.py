"""Blocks read by their form are those that Arrow reads, whatever came before them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.streams.block_layout import BlockReader, ReceivedBlock, read_batch
from lit.streams.codec import encode
from lit.streams.tick import TickBlock, tick_block

TEXTS = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=9))


@st.composite
def blocks(draw: st.DrawFn) -> TickBlock:
    """Small blocks of few sizes, so that many have one length and some one form."""
    count = draw(st.integers(0, 3))
    column = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=count, max_size=count)
    texts = draw(st.none() | st.lists(TEXTS, min_size=count, max_size=count))
    numbers = draw(st.none() | st.lists(st.none() | st.integers(0, 9), min_size=count, max_size=count))
    extras = {"Ex": draw(st.lists(TEXTS, min_size=count, max_size=count))} if count and draw(st.booleans()) else None
    stamps = draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count))
    return tick_block(
        "X", 0, stamps, draw(column), draw(column), seq_no=numbers, qualifiers=texts, extras=extras
    )  # fmt: skip


@given(st.lists(blocks(), min_size=2, max_size=12))
def test_blocks_of_any_forms_in_any_order_are_read_as_arrow_reads_them(sent: list[TickBlock]) -> None:
    reader = BlockReader()
    for block in [*sent, *sent]:
        value = encode(block).value
        read = reader.read("X", 7, "o", value)
        assert (read.symbol, read.first_index, read.origin, len(read)) == ("X", 7, "o", len(block))
        for name in ("timestamp", "price", "volume"):
            np.testing.assert_array_equal(getattr(read, name), getattr(block, name))
        assert read.batch.equals(block.batch)
        assert read.slice(1).batch.equals(block.slice(1).batch)


def test_a_form_is_known_from_its_second_block_on_whatever_is_in_it() -> None:
    reader = BlockReader()
    first, second = (
        reader.read("X", 0, "", encode(tick_block("X", 0, [at], [at / 7], [1.0], qualifiers=[text])).value)
        for at, text in ((1, "ab"), (2, "cd"))
    )
    assert not isinstance(first, ReceivedBlock) and isinstance(second, ReceivedBlock)
    assert (second.timestamp[0], second.price[0], second.packet(0)["Qualifiers"]) == (2, 2 / 7, "cd")


@given(st.data())
def test_bytes_changed_outside_the_columns_are_left_to_arrow(data: st.DataObject) -> None:
    reader, value = BlockReader(), encode(tick_block("X", 0, [1, 2], [1.0, 2.0], [1.0, 1.0])).value
    reader.read("X", 0, "", value)
    at = data.draw(st.integers(0, len(value) - 1))
    spoiled = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]
    try:
        expected = read_batch(spoiled)
    except Exception:  # of any kind: a block must not be read where Arrow cannot
        with pytest.raises(Exception):  # noqa: B017
            _ = reader.read("X", 0, "", spoiled).batch
        return
    read = reader.read("X", 0, "", spoiled)
    assert read.timestamp.tobytes() == expected.column(0).to_numpy().tobytes()
    assert read.price.tobytes() == expected.column(1).to_numpy().tobytes()
