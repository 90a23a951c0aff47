"""The tick store: what goes in comes out, once, whichever engine or process, and whenever it is killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from lit.api.routes.store import router
from lit.streams.errors import FaultError, UserError
from lit.streams.store import TickRange, TickStore
from lit.streams.store_clickhouse import READ_SETTINGS, open_embedded
from lit.streams.store_http import HttpStore
from lit.streams.store_open import open_store
from lit.streams.tick import TickBlock, tick_block


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(params=["embedded", "http"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[TickStore]:
    with open_embedded(folder) as stores:
        team = stores.team(request.param)
        team.delete("s")
        if request.param == "embedded":
            yield team
        else:
            app = FastAPI()
            app.include_router(router(stores))
            yield HttpStore(TestClient(app), "http")


def _block(first: int, count: int, origin: str = "", symbol: str = "A") -> TickBlock:
    rows = np.arange(first, first + count)
    return tick_block(
        symbol, first, 1_463_597_875_626_078_700 + rows, 90 + rows / 7, rows % 11, origin=origin,
        seq_no=[None if row % 3 else int(row) for row in rows], session=rows % 3,
        qualifiers=[f"q{row % 5}" if row % 4 else None for row in rows],
        extras={"whole": [None if row % 5 == 0 else int(row) << 40 for row in rows],
                "text": [f"é'{row}" for row in rows], "real": np.sqrt(rows)},
    )  # fmt: skip


def test_blocks_come_back_as_they_went_in(store: TickStore) -> None:
    store.insert("s", 0, [(3, _block(0, 70)), (9, _block(70, 30))])
    whole = store.window("s", "A", 0, 1000)
    expected = _block(0, 100)
    assert whole.batch.schema == expected.batch.schema
    assert whole.batch.to_pylist() == expected.batch.to_pylist()
    assert store.window("s", "A", 40, 60).batch.to_pylist() == expected.slice(40, 60).batch.to_pylist()
    assert store.packet("s", "A", 77) == expected.packet(77)
    assert len(store.window("s", "A", 100, 200)) == 0
    with pytest.raises(IndexError, match="no tick 100"):
        store.packet("s", "A", 100)


def test_reading_leaves_a_store_that_can_be_written(store: TickStore) -> None:
    store.insert("s", 0, [(0, _block(0, 50))])
    store.window("s", "A", 0, 50)
    store.ranges.columns("s", [TickRange("", "A", 0, 50, True)], ["Price"])
    store.count("s")
    store.insert("s", 0, [(1, _block(50, 50))])
    store.delete("s", "nothing")
    assert store.count("s") == 100


def test_a_query_that_takes_too_long_is_told_and_leaves_nothing_behind(tmp_path: Path) -> None:
    slow = "SELECT count(), uniqExact(cityHash64(number)) FROM numbers(1000000000)"
    with open_embedded(tmp_path) as stores:
        team = stores.team("demo")
        team.insert("s", 0, [(0, _block(0, 50))])
        for ask in (stores._engine.rows, stores._engine.arrow):
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(READ_SETTINGS, "max_execution_time", 0.3)
                with pytest.raises(UserError, match="fewer ticks"):
                    ask(slow)
            assert team.count("s") == 50 and team.window("s", "A", 0, 50).batch.num_rows == 50


def test_repeats_and_origins_are_kept_apart(store: TickStore) -> None:
    for _ in range(3):
        store.insert("s", 2, [(5, _block(0, 50, "sha256:1")), (6, _block(0, 20, "sha256:1", "B"))])
    store.insert("s", 1, [(0, _block(0, 10, "sha256:2"))])
    assert store.applied("s") == {1: 0, 2: 6}
    assert (store.count("s"), store.count("s", "sha256:1"), store.count("s", "")) == (80, 70, 0)
    assert [(s.symbol, s.count) for s in store.segments("s", "sha256:1")] == [("A", 50), ("B", 20)]
    store.delete("s", "sha256:1")
    assert (store.count("s"), len(store.window("s", "A", 0, 99, "sha256:2"))) == (10, 10)


def test_a_lacking_tick_is_not_made_up_for_by_one_that_is_there_twice(store: TickStore) -> None:
    store.insert("s", 0, [(0, _block(0, 50)), (1, _block(51, 49))])  # 50 lacks
    store.insert("s", 0, [(2, _block(60, 1))])
    assert store.count("s") == 99
    with pytest.raises(FaultError, match="99 of 100"):
        store.ranges.columns("s", [TickRange("", "A", 0, 100, True)], ["Price"])


def test_a_time_finds_the_first_tick_at_or_after_it(store: TickStore) -> None:
    block = tick_block("A", 0, [10, 20, 20, 30], [1, 1, 1, 1], [1, 1, 1, 1])
    store.insert("s", 0, [(0, block)])
    assert [store.index_at("s", "A", time) for time in (0, 10, 11, 20, 30, 31)] == [0, 0, 1, 1, 3, 4]


def test_a_hole_is_an_error_and_names_are_values_not_sql(store: TickStore) -> None:
    store.insert("s", 0, [(0, _block(0, 5)), (1, _block(6, 5))])
    if not isinstance(store, HttpStore):
        with pytest.raises(FaultError, match="hole"):
            store.window("s", "A", 0, 20)
    assert store.count("s' OR 1=1 --") == 0


def test_another_process_is_told_that_the_store_is_open(tmp_path: Path) -> None:
    other = f"from pathlib import Path\nfrom lit.streams.store_open import open_store\n" \
            f"with open_store(Path({str(tmp_path)!r}), None): pass"  # fmt: skip
    with open_store(tmp_path, None), open_store(tmp_path, None):
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert "another process has the tick store" in done.stderr
    assert subprocess.run([sys.executable, "-c", other], capture_output=True).returncode == 0


def test_ticks_of_an_older_store_are_summarised_when_it_is_opened(tmp_path: Path) -> None:
    block = _block(0, 2500)
    with open_embedded(tmp_path) as stores:
        stores.team("demo").insert("s", 0, [(0, block)])
        stores._engine.command("TRUNCATE TABLE tick_buckets")
    with open_embedded(tmp_path) as stores:
        (own,) = stores.team("demo").ranges.peaks("s", [TickRange("", "A", 0, 2500, True)], 2048)
    assert own.tolist() == [block.timestamp[2047], block.timestamp[2499]]


WRITER = """
import sys
from pathlib import Path
from lit.streams.store_clickhouse import READ_SETTINGS, open_embedded
from tests.test_store import _block
with open_embedded(Path(sys.argv[1])) as stores:
    store = stores.team("demo")
    done = store.applied("s").get(0, -1)
    print("open", flush=True)
    for offset in range(done + 1, 400, 4):
        store.insert("s", 0, [(o, _block(o * 500, 500)) for o in range(offset, min(offset + 4, 400))])
    print("end", flush=True)
"""


@pytest.mark.fault
def test_a_killed_writer_loses_and_repeats_nothing(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    kills = 0
    for _ in range(40):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "open\n"
        if kills < 6:
            time.sleep(chance.uniform(0.02, 0.25))
            child.kill()
        killed = child.wait() != 0
        kills += killed
        if not killed:
            break
    assert kills >= 3, "the writer was never hit: slow it down"
    with open_embedded(tmp_path) as stores:
        store = stores.team("demo")
        assert store.count("s") == 200_000
        whole = store.window("s", "A", 0, 10**9)
        assert len(whole) == 200_000
        (peaks,) = store.ranges.peaks("s", [TickRange("", "A", 0, 200_000, True)], 1024)  # summarised to the last tick
        assert np.array_equal(peaks, np.maximum.reduceat(whole.timestamp, np.arange(0, 200_000, 1024)))
        assert store.applied("s") == {0: 399}
