"""A dataset in the tick store is the dataset in memory: ticks, columns and bars, byte for byte, at any index."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit.features.dataset import DatasetAdapter, Segment
from lit.features.stored import StoredDataset
from lit.features.stored_ticks import Part
from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.streams.errors import FaultError
from lit.streams.store import BUCKET_TICKS
from lit.streams.store_clickhouse import open_embedded
from lit.streams.tick import TickBlock, tick_block

SECOND = 1_000_000_000
#: (symbol, ticks, steps of the clock): parts that are dense, sparse, within one minute, and late by seconds to days.
PARTS = (
    ("A", 3000, [0, SECOND // 50, SECOND]),
    ("B", 1500, [0, 7 * SECOND, 61 * SECOND, -15 * SECOND, 3600 * SECOND]),
    ("A", 2 * BUCKET_TICKS, [0, 1, 1000]),  # chunks in which no minute begins
    ("C", 1, [0]),
    ("A", 2500, [SECOND // 5, 20 * SECOND, -130 * SECOND, -4000 * SECOND, 3000 * SECOND]),
    ("B", 700, [86_400 * SECOND, 0, SECOND, -2 * 86_400 * SECOND]),
    ("A", 5, [SECOND]),
)
UNITS = ("second", "minute", "hour", "day", "tick", "volume", "dollar")


def _parts() -> list[TickBlock]:
    chance = np.random.default_rng(7)
    blocks, positions, clock = [], {}, {}
    for number, (symbol, count, steps) in enumerate(PARTS):
        # The next file of a symbol begins before the end of the last: its first ticks are late.
        start = clock.get(symbol, 1_400_000_000 * SECOND) - 90 * SECOND
        stamps = start + np.cumsum(chance.choice(steps, count))
        clock[symbol] = int(stamps[-1])
        block = tick_block(
            symbol, positions.get(symbol, 0), stamps, chance.integers(1, 5000, count) / 7,
            chance.choice([0.1, 0.7, 1.0, 100.0, 3.3e7], count), session=chance.integers(0, 3, count),
            qualifiers=[None if row % 4 else f"q{row % 9}" for row in range(count)], origin=f"o{number}",
            extras={"Bid": chance.integers(1, 9, count) / 3},
        )  # fmt: skip
        positions[symbol] = block.next_index
        blocks.append(block)
    return blocks


BLOCKS = _parts()
TOTAL = sum(map(len, BLOCKS))
MEMORY = DatasetAdapter.of_blocks(
    [TickBlock(block.symbol, block.first_index, block.batch) for block in BLOCKS],
    [Segment(block.symbol, len(block)) for block in BLOCKS],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bars")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[StoredDataset]:
    with open_embedded(tmp_path_factory.mktemp("store")) as stores:
        store = stores.team("demo")
        for offset, block in enumerate(BLOCKS):
            store.insert("s", 0, [(offset, TickBlock(block.symbol, 0, block.batch, block.origin))])
        parts = [Part(block.origin, block.symbol, len(block)) for block in BLOCKS]
        yield StoredDataset(store, "s", parts, folder, kept_bytes=400_000, chunk_ticks=BUCKET_TICKS)


EDGES = np.cumsum([0, *map(len, BLOCKS)])
indices = st.one_of(
    st.integers(-2, TOTAL + 2),
    st.builds(lambda edge, step: int(edge) + step, st.sampled_from(EDGES.tolist()), st.integers(-3, 3)),
)
queries = st.tuples(
    st.sampled_from(UNITS), st.sampled_from([1, 2, 5, 30, 600]), st.sampled_from([0, 1, 3, 60, 5000]),
    st.booleans(), st.booleans(),
)  # fmt: skip
checked = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@checked
@given(index=indices, query=queries)
def test_bars_are_those_of_one_pass_in_memory_byte_for_byte(stored: StoredDataset, index: int, query: tuple) -> None:
    unit, size, count, future, prevent = query
    found = stored.get_bars(index, count, unit, size, future, prevent)
    expected = MEMORY.get_bars(index, count, unit, size, future, prevent)
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@settings(parent=checked, max_examples=60)
@given(many=st.lists(indices, max_size=30), query=queries)
def test_bars_of_many_indices_are_the_loops(stored: StoredDataset, many: list[int], query: tuple) -> None:
    unit, size, count, future, prevent = query
    count = min(count, 60)
    found = stored.get_bars_batch(np.array(many, np.int64), count, unit, size, future, prevent)
    expected = MEMORY.get_bars_batch(np.array(many, np.int64), count, unit, size, future, prevent)
    assert found[0].tobytes() == expected[0].tobytes() and found[1].tobytes() == expected[1].tobytes()


@settings(parent=checked, max_examples=25)
@given(many=st.lists(st.integers(0, TOTAL - 1), min_size=1, max_size=40))
def test_ticks_and_columns_are_those_in_memory(stored: StoredDataset, many: list[int]) -> None:
    assert stored[many[0]] == MEMORY[many[0]]
    for name in ("timestamp", "Price", "Volume", "session", "Bid"):
        found, expected = stored.column(name, np.array(many)), MEMORY.column(name, np.array(many))
        assert found.tobytes() == expected.tobytes() and found.dtype == expected.dtype, name


def test_threads_that_read_at_once_see_the_same(stored: StoredDataset) -> None:
    fresh = StoredDataset(stored.store, "s", stored.parts, kept_bytes=200_000, chunk_ticks=BUCKET_TICKS)
    chance = np.random.default_rng(11)
    asked = [
        (int(chance.integers(0, TOTAL)), 20, str(chance.choice(UNITS)), 3, bool(chance.integers(2)), False)
        for _ in range(60)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: fresh.get_bars(*query).tobytes(), asked))
    assert found == [MEMORY.get_bars(*query).tobytes() for query in asked]


def test_the_dataset_offers_what_features_may_ask_for(stored: StoredDataset) -> None:
    assert isinstance(stored, TradersBaseAdapter) and len(stored) == TOTAL
    assert list(stored.symbols) == ["A", "B", "C"]
    for index in (-1, TOTAL):
        with pytest.raises(IndexError):
            stored[index]
        with pytest.raises(IndexError):
            stored.column("Price", np.array([0, index]))


def test_what_took_a_pass_over_all_ticks_is_kept_and_a_damaged_file_is_made_again(
    stored: StoredDataset, folder: Path
) -> None:
    again = lambda: StoredDataset(stored.store, "s", stored.parts, folder, chunk_ticks=BUCKET_TICKS)  # noqa: E731
    index = int(EDGES[4]) + 100
    for unit, size in (("day", 1), ("volume", 1000)):
        expected = MEMORY.get_bars(index, 3, unit, size)
        again().get_bars(index, 3, unit, size)
        kept = {file: file.read_bytes() for file in folder.glob("*.bars")}
        assert again().get_bars(index, 3, unit, size).tobytes() == expected.tobytes()
        for file in kept:
            file.write_bytes(b"\x93damaged")
        assert again().get_bars(index, 3, unit, size).tobytes() == expected.tobytes()
        assert any(file.read_bytes() == body for file, body in kept.items())


def test_a_store_that_has_lost_ticks_is_a_fault(stored: StoredDataset) -> None:
    parts = [*stored.parts[:-1], Part("o6", "A", 6)]
    with pytest.raises(FaultError, match="7,553 of 7,554"):
        StoredDataset(stored.store, "s", parts).column("Price", np.arange(TOTAL + 1))
