"""Reads over many sequences: windows, searches and extremes agree with NumPy on the raw ticks, whatever is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit.api.errors import add_handlers
from lit.api.routes.store import router
from lit.streams.errors import FaultError, UserError
from lit.streams.search import parse
from lit.streams.store import BUCKET_TICKS, TickRange, TickStore
from lit.streams.store_clickhouse import open_embedded
from lit.streams.store_http import HttpStore
from lit.streams.tick import TickBlock, tick_block

#: (origin, symbol, ticks): segments that end in, at and beyond an edge of the store's buckets.
SEGMENTS = (("o1", "B", 5000), ("o1", "A", 3 * BUCKET_TICKS), ("o2", "A", 700), ("o2", "Ü'); --", 2049))
EXTRAS = {"Bid": "number", "Note": "text"}
WHOLE = tuple(TickRange(origin, symbol, 0, count, True) for origin, symbol, count in SEGMENTS)


def _ticks(seed: int, origin: str, symbol: str, count: int) -> TickBlock:
    chance = np.random.default_rng(seed)
    stamps = 1_400_000_000_000_000_000 + np.cumsum(chance.integers(-(10**8), 10**9, count))
    texts = ["ODD[IRGCOND];@", 'it\'s \\ 100% "q"\t', "ÄÖ 🚀", None]
    return tick_block(
        symbol, 0, stamps, chance.integers(1, 10**6, count) / 64, chance.integers(1, 900, count),
        seq_no=pa.array([None if row % 3 else int(row) for row in range(count)], pa.int64()),
        session=chance.integers(0, 3, count),
        qualifiers=[texts[place] for place in chance.integers(0, 4, count)], origin=origin,
        extras={"Bid": [None if row % 7 == 0 else row / 8 for row in range(count)],
                "Note": [None if row % 5 else f"n'{row}" for row in range(count)]},
    )  # fmt: skip


BLOCKS = [_ticks(seed, *segment) for seed, segment in enumerate(SEGMENTS)]


@pytest.fixture(scope="module", params=["embedded", "http"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TickStore]:
    with open_embedded(tmp_path_factory.mktemp("ranges")) as stores:
        team = stores.team("demo")
        offset = 0
        for block in BLOCKS:
            for start in range(0, len(block), 1500):  # blocks that cross buckets; each is stored twice, as by a zombie
                for _ in range(2):
                    team.insert("s", 0, [(offset, block.slice(start, start + 1500))])
                offset += 1
        if request.param == "embedded":
            yield team
        else:
            app = FastAPI()
            add_handlers(app)
            app.include_router(router(stores))
            yield HttpStore(TestClient(app), "demo")


def _cut(first: int, last: int) -> list[TickRange]:
    """Return the ranges of a window of the segments one after the other."""
    ranges, start = [], 0
    for origin, symbol, count in SEGMENTS:
        low, high = max(first - start, 0), min(last - start, count)
        if low < high:
            ranges.append(TickRange(origin, symbol, low, high, high - low == count))
        start += count
    return ranges


TOTAL = sum(count for _, _, count in SEGMENTS)
windows = st.tuples(st.integers(0, TOTAL), st.integers(0, TOTAL)).map(sorted).filter(lambda pair: pair[0] < pair[1])
shared = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _raw(name: str) -> np.ndarray:
    return np.concatenate([block.batch.column(name).to_numpy(zero_copy_only=False) for block in BLOCKS])


@shared
@given(window=windows)
def test_a_window_over_segments_and_symbols_has_their_very_ticks(store: TickStore, window: Sequence[int]) -> None:
    first, last = window
    names = ("timestamp", "Price", "Volume", "Seq. No.", "session", "Qualifiers", "symbol", "Note")
    found = store.ranges.columns("s", _cut(first, last), names)
    assert found.column("Price").to_numpy().tobytes() == _raw("Price")[first:last].tobytes()
    assert found.column("timestamp").to_numpy().tobytes() == _raw("timestamp")[first:last].tobytes()
    symbols = np.concatenate([[symbol] * count for _, symbol, count in SEGMENTS])
    assert found.column("symbol").to_pylist() == symbols[first:last].tolist()
    for name in ("Seq. No.", "session", "Qualifiers", "Note"):
        raw = [value for block in BLOCKS for value in block.batch.column(name).to_pylist()]
        assert found.column(name).to_pylist() == raw[first:last], name


@shared
@given(window=windows, width=st.sampled_from([1, 7, 700, BUCKET_TICKS, 2 * BUCKET_TICKS, 5 * BUCKET_TICKS]))
def test_no_extreme_is_lost_in_a_run_of_ticks(store: TickStore, window: Sequence[int], width: int) -> None:
    ranges = _cut(*window)
    rows = store.ranges.extremes("s", ranges, width).to_pylist()
    expected = []
    for number, one in enumerate(ranges):
        block = next(block for block in BLOCKS if (block.origin, block.symbol) == (one.origin, one.symbol))
        for run in range(one.first // width, (one.last - 1) // width + 1):
            part = block.slice(max(run * width, one.first), min((run + 1) * width, one.last))
            expected.append({
                "range": number, "run": run, "start": part.timestamp.min(), "end": part.timestamp.max(),
                "low": part.price.min(), "high": part.price.max(),
                "smallest": part.volume.min(), "largest": part.volume.max(),
            })  # fmt: skip
    assert rows == expected


def _hits(search: str) -> np.ndarray:
    """Judge each tick in plain Python."""
    quals = [text or "" for block in BLOCKS for text in block.batch.column("Qualifiers").to_pylist()]
    notes = [text or "" for block in BLOCKS for text in block.batch.column("Note").to_pylist()]
    symbols = [symbol for _, symbol, count in SEGMENTS for _ in range(count)]
    bids = np.array([np.nan if v is None else v for b in BLOCKS for v in b.batch.column("Bid").to_pylist()])
    text = lambda needle: np.array([needle in q or needle in n or needle in s  # noqa: E731
                                    for q, n, s in zip(quals, notes, symbols, strict=True)])  # fmt: skip
    volume, session = _raw("Volume"), _raw("session")
    return {
        "ODD[IRGCOND]": text("ODD[IRGCOND]"),
        'it\'s \\ 100% "q"': text('it\'s \\ 100% "q"'),
        "🚀": text("🚀"),
        "'); --": text("'); --"),
        "n'1000": text("n'1000"),
        "nothing has this": text("nothing has this"),
        "Volume > 450": volume > 450,
        "volume <= 450 and not ODD": (volume <= 450) & ~text("ODD"),
        "(session = 1 or session=2) and /O.D/": ((session == 1) | (session == 2)) & text("ODD"),
        "/odd/i or Bid >= 600.5": text("ODD") | (bids >= 600.5),
        'symbol = "A" and Qualifiers ~ ^ÄÖ': np.array([s == "A" for s in symbols]) & text("ÄÖ"),
        "Note != n'5": np.array([note != "n'5" for note in notes]),
        "Seq. No. = 30": np.concatenate([np.arange(len(b)) == 30 for b in BLOCKS]),
    }[search]


SEARCHES = (
    "ODD[IRGCOND]", "it's \\ 100% \"q\"", "🚀", "'); --", "n'1000", "nothing has this", "Volume > 450",
    "volume <= 450 and not ODD", "(session = 1 or session=2) and /O.D/", "/odd/i or Bid >= 600.5",
    'symbol = "A" and Qualifiers ~ ^ÄÖ', "Note != n'5", "Seq. No. = 30",
)  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_finds_what_python_finds(store: TickStore, search: str) -> None:
    hits, condition = _hits(search), parse(search, EXTRAS)
    assert store.ranges.count("s", WHOLE, condition) == hits.sum()
    first, last = 4000, 9000
    ranges = _cut(first, last)
    numbers, index = store.ranges.matches("s", ranges, condition)
    starts = np.cumsum([0, *(len(one) for one in ranges)])
    firsts = np.array([one.first for one in ranges])
    assert np.array_equal(first + starts[numbers] + index - firsts[numbers], first + np.flatnonzero(hits[first:last]))


ATTACKS = (
    "' OR 1=1 --", "') OR (1=1", "x' UNION ALL SELECT * FROM system.tables --", "{q0:String}", "\\", "\\'", "%", "_",
    "`ticks`; DROP TABLE ticks", "/* */", "$$", "\u202e", "\u0000x"[1:], "?", "@settings",
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_search_string_is_a_value_and_never_sql(store: TickStore, attack: str) -> None:
    literal = '"' + attack.replace("\\", "\\\\").replace('"', '\\"') + '"'
    names = [text or "" for block in BLOCKS for text in block.batch.column("Qualifiers").to_pylist()]
    notes = [text or "" for block in BLOCKS for text in block.batch.column("Note").to_pylist()]
    symbols = [symbol for _, symbol, count in SEGMENTS for _ in range(count)]
    expected = sum(attack in q or attack in n or attack in s for q, n, s in zip(names, notes, symbols, strict=True))
    assert store.ranges.count("s", WHOLE, parse(literal, EXTRAS)) == expected
    hostile = {attack: "text", **EXTRAS}  # a file's header names its fields
    assert store.ranges.count("s", WHOLE, parse('"zzz"', hostile)) == 0
    named = [TickRange(attack, attack, 0, 5)]
    assert store.ranges.count(attack, named, parse("a")) == 0
    assert store.ranges.extremes("s", named, 3).num_rows == 0
    assert store.ranges.count("s", WHOLE, parse("Volume > 0")) == TOTAL


def test_a_pattern_that_ruins_others_ends_at_once_and_a_broken_one_is_told(store: TickStore) -> None:
    ruinous = parse("/(a+)+$/ or /(.*.*.*.*)*x/")
    assert store.ranges.count("s", WHOLE, ruinous) == 0
    with pytest.raises(UserError, match="no regular expression"):
        store.ranges.count("s", WHOLE, parse("/(unclosed/"))


def test_what_the_store_lacks_is_a_fault_and_not_a_shorter_answer(store: TickStore) -> None:
    with pytest.raises(FaultError, match="700 of 701"):
        store.ranges.columns("s", [TickRange("o2", "A", 0, 701)], ["Price"])
    with pytest.raises(FaultError, match="lacks"):
        store.ranges.peaks("s", [TickRange("o3", "A", 0, 700, True)], BUCKET_TICKS)


def test_the_fields_of_an_adapter_and_the_latest_times_are_known(store: TickStore) -> None:
    assert store.ranges.extras("s", WHOLE) == {"Bid": "double", "Note": "string"}
    peaks = store.ranges.peaks("s", WHOLE, 2 * BUCKET_TICKS)
    for block, own in zip(BLOCKS, peaks, strict=True):
        edges = np.arange(0, len(block), 2 * BUCKET_TICKS)
        assert np.array_equal(own, np.maximum.reduceat(block.timestamp, edges))


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("", "empty"), (" \t", "empty"), ("Volum > 3", "'Volum'"), ("Price > much", "a number"), ("a and ", "missing"),
        ("(a or b", "parenthesis"), ("Price ~ 3", "no text"), ("Qualifiers > 3", "is a text"), ("Volume >", "nothing"),
        ("Volume > 1 Price < 2", "'Price < 2'"), ("Date-Time > soon", "a time"), ("x" * 1001, "1001"),
        (" or ".join("x" * 50), "more than 40"), ("not " * 60 + "x", "more than 40"), ("Price > inf", "a number"),
        ("(" * 60 + "x" + ")" * 60, "more than 40"), ("a\0b", "NUL"),
    ],
)  # fmt: skip
def test_a_search_that_cannot_be_read_is_told_in_a_sentence(search: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse(search)


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_string_is_read_or_refused_and_a_quoted_one_is_itself(text: str) -> None:
    with contextlib.suppress(UserError):
        parse(text)
    if text.strip() and "\0" not in text:
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        found = parse(quoted)
        assert found.text == text  # type: ignore[union-attr]
