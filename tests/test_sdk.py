"""The SDK's lines as users write them, over real files and without a server."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.sdk.data.adapter import SdkAdapter, load_adapter, load_adapter_by_project
from lit.streams.errors import UserError
from lit.streams.tick import iso_ms
from tests.polars_adapter import PolarsAdapter
from tests.tape import SAMPLES, real_ticks

IBM = [SAMPLES / f"IBM.N_2013100{day}.csv.gz" for day in (7, 8)]
BAC = SAMPLES / "BAC.N_20131007.csv.gz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _configured(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(data))


@pytest.fixture(scope="module")
def adapter(data: Path) -> SdkAdapter:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIT_DATA", str(data))
        return load_adapter("contoso", "refinitiv", {"paths": [str(IBM[0]), str(BAC), str(IBM[1])]})


def test_files_are_one_dataset_in_path_order(adapter: SdkAdapter) -> None:
    first, bac, both = real_ticks("IBM.N", 1), real_ticks("BAC.N", 1), real_ticks("IBM.N", 2)
    assert len(adapter) == len(bac) + len(both)
    assert isinstance(adapter, TradersBaseAdapter) and adapter.symbols == ("IBM.N", "BAC.N")
    prices = adapter.column("Price", np.arange(len(adapter)))
    expected = np.concatenate([first.price, bac.price, both.price[len(first) :]])
    assert prices.tobytes() == expected.tobytes()
    assert not adapter.rejects


def test_a_tick_is_the_packet_that_users_know(adapter: SdkAdapter) -> None:
    index = len(real_ticks("IBM.N", 1)) + 5
    tick = adapter[index]
    bac = real_ticks("BAC.N", 1)
    names = ["index", "Price", "Volume", "Seq. No.", "session", "Qualifiers", "timestamp", "symbol", "Date-Time"]
    assert list(tick)[:9] == names
    assert (tick["index"], tick["symbol"], tick["Price"]) == (index, "BAC.N", bac.price[5])
    assert (tick["timestamp"], tick["Date-Time"]) == (int(bac.timestamp[5]), iso_ms(int(bac.timestamp[5])))
    with pytest.raises(IndexError):
        adapter[len(adapter)]


def test_bars_go_on_over_the_files_of_a_symbol(adapter: SdkAdapter) -> None:
    both = real_ticks("IBM.N", 2)
    other, between = PolarsAdapter(both), len(real_ticks("BAC.N", 1))
    days = len(real_ticks("IBM.N", 1))
    for position in (0, 7, days - 1, days, days + 3, len(both) - 1):
        index = position + (between if position >= days else 0)
        for future in (False, True):
            seen = adapter.get_bars(index, 3, "minute", 1, future=future)
            np.testing.assert_allclose(seen, other.get_bars(position, 3, "minute", 1, future=future), rtol=1e-12)


def test_symbols_mixed_in_a_file_are_segments_by_first_appearance(tmp_path: Path) -> None:
    rows = gzip.decompress(BAC.read_bytes()).splitlines(keepends=True)[:60_001]
    mixed = [row.replace(b"BAC.N", b"X.N", 1) if number % 3 else row for number, row in enumerate(rows[1:])]
    assert sum(map(len, mixed)) > 5_000_000  # more than a chunk, so that each symbol comes in several pieces
    path = tmp_path / "mixed.csv.gz"
    path.write_bytes(gzip.compress(rows[0] + b"".join(mixed), 1))
    found = load_adapter("contoso", "refinitiv", {"paths": [path]})
    tape = real_ticks("BAC.N", 1).price[:60_000]
    whose = np.arange(60_000) % 3
    assert [segment.count for segment in found.layout.segments] == [20_000, 40_000]
    expected = np.concatenate([tape[whose == 0], tape[whose != 0]])
    assert found.column("Price", np.arange(60_000)).tobytes() == expected.tobytes()


def test_a_project_names_its_files_below_raw(data: Path) -> None:
    raw, projects = data / "contoso" / "raw", data / "contoso" / "projects"
    for folder in (raw, projects):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(IBM[0], raw)
    (projects / "volatility.json").write_text(json.dumps({"paths": [IBM[0].name], "features": []}))
    adapter = load_adapter_by_project("contoso", "volatility")
    assert len(adapter) == len(real_ticks("IBM.N", 1))
    assert adapter.paths == (raw / IBM[0].name,)
    with pytest.raises(UserError, match=r"'nonesuch'.*volatility"):
        load_adapter_by_project("contoso", "nonesuch")
    (projects / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken\.json is damaged"):
        load_adapter_by_project("contoso", "broken")


def test_create_cache_file_reads_a_file_whole_and_says_what_is_in_it(adapter: SdkAdapter, tmp_path: Path) -> None:
    report = adapter.create_cache_file(IBM[1])
    count = len(real_ticks("IBM.N", 2)) - len(real_ticks("IBM.N", 1))
    assert (report["ticks"], report["symbols"], report["rejects"]) == (count, {"IBM.N": count}, {})
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(IBM[1].read_bytes()[:-50])
    with pytest.raises(UserError, match=r"broken\.csv\.gz"):
        adapter.create_cache_file(broken)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UserError, match=r"'nonesuch'.*refinitiv"):
        load_adapter("contoso", "nonesuch", {"paths": [IBM[0]]})
    with pytest.raises(UserError, match="paths is 'a'"):
        load_adapter("contoso", "refinitiv", {"paths": "a"})
    with pytest.raises(UserError, match="'path' is not known to adapter"):
        load_adapter("contoso", "refinitiv", {"path": "a"})
    with pytest.raises(UserError, match=r"absent\.csv\.gz"):
        load_adapter("contoso", "refinitiv", {"paths": ["absent.csv.gz"]})
