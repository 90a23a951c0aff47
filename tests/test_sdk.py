"""The SDK's lines as users write them, over real files: in memory, from a store opened here, from a server's."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from lit.api.server import running
from lit.cli import app
from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.sdk.data import opened
from lit.sdk.data.adapter import SdkAdapter, load_adapter, load_adapter_by_project
from lit.sdk.data.files import read_files
from lit.settings import Settings
from lit.streams.errors import UserError
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace
from tests.polars_adapter import PolarsAdapter
from tests.tape import SAMPLES, real_ticks

pytestmark = pytest.mark.kafka
IBM = [SAMPLES / f"IBM.N_2013100{day}.csv.gz" for day in (7, 8)]
BAC = SAMPLES / "BAC.N_20131007.csv.gz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module", autouse=True)
def _configured(data: Path, kafka: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIT_DATA", str(data))
        patch.setenv("LIT_KAFKA", kafka)
        yield
    opened.close()


@pytest.fixture(scope="module", params=["memory", "stored"])
def adapter(request: pytest.FixtureRequest) -> SdkAdapter:
    # Teams of their own: what one has cached, the other has not.
    found = load_adapter(f"sdk-{request.param}", "refinitiv", {"paths": [str(IBM[0]), str(BAC), str(IBM[1])]})
    if request.param == "stored":
        for path in found.paths:
            found.create_cache_file(path)
    else:
        with pytest.warns(UserWarning, match=r"IBM\.N_20131007.*2 more files.*memory"):
            len(found)
    assert found.stored == (request.param == "stored")
    return found


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


def test_slices_are_columns_for_numpy_pandas_and_arrow(adapter: SdkAdapter) -> None:
    edge = len(real_ticks("IBM.N", 1))
    columns = adapter[edge - 3 : edge + 2]
    packets = [adapter[index] for index in range(edge - 3, edge + 2)]
    assert len(columns) == 5
    for name in ("index", "timestamp", "Price", "Volume", "session", "Qualifiers", "symbol"):
        assert columns[name].tolist() == [packet[name] for packet in packets], name
    frame = columns.to_pandas()
    assert frame.index.tolist() == [packet["index"] for packet in packets]
    assert frame["Date-Time"].dt.tz is not None
    assert [iso_ms(stamp.value) for stamp in frame["Date-Time"]] == [packet["Date-Time"] for packet in packets]
    assert adapter[-2:]["index"].tolist() == [len(adapter) - 2, len(adapter) - 1]
    assert adapter[10:20:4]["index"].tolist() == [10, 14, 18]
    assert len(adapter[5:5]) == 0 and len(adapter[len(adapter) + 5 :]) == 0
    with pytest.raises(KeyError, match="'Prize'"):
        columns["Prize"]
    with pytest.raises(UserError, match="forward"):
        adapter[10:0:-1]


def test_a_slice_from_the_store_is_the_slice_from_the_files(adapter: SdkAdapter, data: Path) -> None:
    files = read_files(Workspace(data, "contoso"), "refinitiv", adapter.paths)
    edge = len(real_ticks("IBM.N", 1))
    for first, last in ((0, 10), (edge - 1000, edge + 70_000), (len(adapter) - 7, len(adapter))):
        expected, found = files.table(first, last), adapter[first:last].to_arrow()
        assert found.schema.names == expected.schema.names and found.to_pylist() == expected.to_pylist()


def test_a_dataset_can_be_searched_and_seen_as_a_whole(adapter: SdkAdapter) -> None:
    if not adapter.stored:
        with pytest.raises(UserError, match="cached"):
            adapter.search("Volume > 10000")
        return
    volume = adapter.column("Volume", np.arange(len(adapter)))
    found = adapter.search("Volume > 10000", first=100, count=5000)
    assert found.indices.tolist() == (100 + np.flatnonzero(volume[100:5100] > 10_000)).tolist()
    assert (found.matches, found.searched) == ((volume > 10_000).sum(), len(adapter))
    view = adapter.overview(points=100)
    assert view.ticks_per_point > 1000 and max(view.table.column("largest").to_pylist()) == volume.max()
    first = adapter.index_at("2013-10-07T15:00:00Z")
    assert adapter[first]["Date-Time"] >= "2013-10-07T15:00:00" > adapter[first - 1]["Date-Time"]


def test_a_file_can_be_cached_and_one_that_is_broken_is_refused(adapter: SdkAdapter, tmp_path: Path) -> None:
    report = adapter.create_cache_file(IBM[1]) if adapter.stored else None
    count = len(real_ticks("IBM.N", 2)) - len(real_ticks("IBM.N", 1))
    if report:
        assert (report["ticks"], report["symbols"], report["rejects"]) == (count, {"IBM.N": count}, {})
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(IBM[1].read_bytes()[:-50])
    with pytest.raises(UserError, match=r"broken\.csv\.gz"):
        adapter.create_cache_file(broken)


def test_an_adapter_goes_over_to_the_store_once_its_files_are_cached() -> None:
    found = load_adapter("sdk-later", "refinitiv", {"paths": [IBM[0]]})
    with pytest.warns(UserWarning, match="is not cached"):
        before = found.get_bars(5000, 30, "minute", 1)
    assert not found.stored
    found.create_cache_file(IBM[0])
    assert found.stored and found.get_bars(5000, 30, "minute", 1).tobytes() == before.tobytes()


def test_a_changed_file_is_not_taken_from_the_store(tmp_path: Path) -> None:
    path = tmp_path / IBM[0].name
    shutil.copy(IBM[0], path)
    load_adapter("sdk-changed", "refinitiv", {"paths": [path]}).create_cache_file(path)
    path.write_bytes(IBM[1].read_bytes())
    with pytest.warns(UserWarning, match="has changed"):
        assert len(load_adapter("sdk-changed", "refinitiv", {"paths": [path]})) != len(real_ticks("IBM.N", 1))


def test_with_a_running_server_the_store_is_the_servers(adapter: SdkAdapter, data: Path, kafka: str) -> None:
    if not adapter.stored:
        pytest.skip("of stored files alone")
    paths = {"paths": list(adapter.paths)}
    chance = np.random.default_rng(3)
    queries = [(int(index), *query) for query in ((30, "minute", 1), (3, "hour", 1), (20, "tick", 500))
               for index in chance.integers(0, len(adapter), 4)]  # fmt: skip
    expected = [adapter.get_bars(*query).tobytes() for query in queries]
    packet, rows = adapter[50_000], adapter[49_990:50_010].to_arrow()
    opened.close()  # and another process has the store now
    with running(Settings(data=data, kafka=kafka, port=0), supervise=False):
        there = load_adapter("sdk-stored", "refinitiv", paths)
        assert adapter.column("Price", np.arange(0, len(adapter), 40_000)).tolist()  # an older adapter finds it too
        assert there.stored and there[50_000] == packet
        assert [there.get_bars(*query).tobytes() for query in queries] == expected
        assert there[49_990:50_010].to_arrow().equals(rows)
        assert there.search("Volume > 10000", 0, 1000).matches > 0
        opened.close()


def test_the_command_line_looks_around_in_cached_files(adapter: SdkAdapter, tmp_path: Path) -> None:
    team = "sdk-stored" if adapter.stored else "sdk-memory"
    named = [*map(str, adapter.paths), "--team", team]

    def lit(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["dataset", *arguments])

    if not adapter.stored:
        refused = lit("show", *named)
        assert isinstance(refused.exception, UserError) and "is not cached" in str(refused.exception)
        return
    volume = adapter.column("Volume", np.arange(len(adapter)))
    told = json.loads(lit("search", "Volume > 20000", *named, "--limit", "3", "--json").stdout)
    assert told["matches"] == (volume > 20_000).sum() and told["searched"] == len(adapter)
    assert [tick["index"] for tick in told["ticks"]] == np.flatnonzero(volume > 20_000)[:3].tolist()
    assert json.loads(lit("tick", "--index", "77", *named).stdout) == adapter[77]
    assert f"{len(adapter):,} ticks of IBM.N, BAC.N" in lit("show", *named).stdout
    shown = json.loads(lit("show", *named, "--json").stdout)
    assert max(shown["overview"]["high"]) == adapter.column("Price", np.arange(len(adapter))).max()
    for suffix in ("parquet", "csv", "arrow"):
        out = tmp_path / f"ticks.{suffix}"
        assert lit("export", str(out), *named, "--first", "60000", "--count", "600").exit_code == 0
        read = {"parquet": pl.read_parquet, "csv": pl.read_csv, "arrow": pl.read_ipc}[suffix](out)
        assert read["Price"].to_list() == adapter[60_000:60_600]["Price"].tolist()
    assert isinstance(lit("export", "ticks.xls", *named).exception, UserError)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UserError, match=r"'nonesuch'.*refinitiv"):
        load_adapter("contoso", "nonesuch", {"paths": [IBM[0]]})
    with pytest.raises(UserError, match="paths is 'a'"):
        load_adapter("contoso", "refinitiv", {"paths": "a"})
    with pytest.raises(UserError, match="'path' is not known to adapter"):
        load_adapter("contoso", "refinitiv", {"path": "a"})
    with pytest.raises(UserError, match=r"absent\.csv\.gz"):
        load_adapter("contoso", "refinitiv", {"paths": ["absent.csv.gz"]})
