"""Tick blocks and watermarks survive Kafka's bytes, and what is no block is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lit.streams.codec import PoisonError, decode, encode
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark, from_iso, iso, iso_ms, tick_block
from tests.tape import tapes


@given(tapes(), st.integers(0, 2**40), st.sampled_from(["", "sha256:0123456789abcdef"]))
def test_a_block_comes_back_as_it_was(tape: TickBlock, first: int, origin: str) -> None:
    block = TickBlock(tape.symbol, first, tape.batch, origin)
    message = encode(block)
    back = decode(message.key, message.value, message.headers)
    assert isinstance(back, TickBlock)
    assert (back.symbol, back.first_index, back.origin) == (block.symbol, first, origin)
    assert back.batch.equals(block.batch)


@pytest.mark.parametrize("time", [0, 1_381_132_830_270_000_123, END_OF_TIME])
def test_a_watermark_comes_back_as_it_was(time: int) -> None:
    message = encode(Watermark("IBM.N", time, 17))
    assert decode(message.key, message.value, message.headers) == Watermark("IBM.N", time, 17)


def test_null_fields_and_extra_columns_are_kept() -> None:
    block = tick_block(
        "X", 0, [1, 2], [1.0, 2.0], [3.0, 4.5], seq_no=[None, 7], qualifiers=["a b ", None], extras={"Ex": ["N", None]}
    )
    message = encode(block)
    back = decode(message.key, message.value, message.headers)
    assert isinstance(back, TickBlock)
    packet = back.packet(1)
    assert (packet["Seq. No."], packet["Qualifiers"], packet["Ex"], packet["Volume"]) == (7, None, None, 4.5)
    assert back.packet(0)["Qualifiers"] == "a b " and back.packet(0)["Volume"] == 3


def spoiled(**changes: bytes | None) -> tuple[bytes, bytes, dict[str, bytes]]:
    message = encode(tick_block("X", 0, [1], [1.0], [1.0]))
    headers = dict(message.headers)
    for name, value in changes.items():
        name = name.replace("_", "-")
        if value is None:
            del headers[name]
        else:
            headers[name] = value
    return message.key, message.value, headers


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema_version": b"2"}, "version"),
        ({"content_type": b"text/plain"}, "content type"),
        ({"count": b"9"}, "9 ticks"),
        ({"count": None}, "unreadable"),
        ({"first_index": b"-4"}, "-4"),
        ({"first_index": b"x"}, "unreadable"),
    ],
)
def test_a_message_of_another_kind_is_poison_with_a_reason(changes, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PoisonError, match=reason):
        decode(*spoiled(**changes))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_block_or_poison(noise: bytes) -> None:
    _, value, headers = spoiled()
    for body in (noise, value[: len(noise)], noise + value):
        try:
            decode(b"X", body, headers)
        except PoisonError:
            continue
        assert body == value


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_463_597_875_626_078_700, "2016-05-18T18:57:55.626078700Z"),
        (1_463_597_875_626_000_000, "2016-05-18T18:57:55.626Z"),
        (1_463_597_875_000_000_000, "2016-05-18T18:57:55Z"),
    ],
)
def test_times_are_written_with_the_digits_they_need(ns: int, text: str) -> None:
    assert iso(ns) == text and from_iso(text) == ns


def test_the_packets_time_is_cut_to_milliseconds() -> None:
    assert iso_ms(1_463_597_875_626_978_700) == "2016-05-18T18:57:55.626Z"


def test_a_time_without_a_zone_is_refused() -> None:
    assert from_iso("2013-10-11T09:30:00-04:00") == from_iso("2013-10-11T13:30:00Z")
    with pytest.raises(ValueError, match="zone"):
        from_iso("2013-10-11T09:30:00")
