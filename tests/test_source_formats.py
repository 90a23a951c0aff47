"""The shipped adapters for other formats (any CSV, Parquet, DBN, LEAN's zips), and the parameters of adapters."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.streams.errors import UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.replay import ReplayProgress, blocks, plan_files
from lit.streams.sources import load_adapter
from lit.streams.tick import TickBlock, from_iso
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

DATA = Path(__file__).parent / "data"
NS = 1_000_000_000


def ticks(
    workspace: Workspace, adapter: str, path: Path, parameters: dict[str, Any] | None = None, **options: int
) -> tuple[list[dict[str, Any]], FileReport]:
    """Return all packets of a file, symbol by symbol, and the report."""
    loaded, report = load_adapter(workspace, adapter, parameters), FileReport(path)
    pieces = read_ticks(verified(path, loaded), loaded, workspace.data / "refused.csv", report, **options)
    found = [TickBlock(piece.symbol, 0, piece.batch) for piece in pieces]
    return [block.packet(place) for block in found for place in range(len(block))], report


def stamps(packets: list[dict[str, Any]]) -> list[int]:
    return [packet["timestamp"] for packet in packets]


# --- csv


def text(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_an_exchanges_dump_without_header_and_symbol_is_read_by_position(workspace: Workspace) -> None:
    """As crypto exchanges publish trades: id, price, size, value, time in ms, side; one pair a file."""
    path = text(
        workspace.data / "BTCUSDT.csv", "7,61000.5,0.002,122.001,1717200000123,True", "8,61001,0.5,1,1717200001,0"
    )
    mapping = {"header": False, "time": "5", "price": "2", "volume": "3", "ticker": "BTCUSDT", "sequence": "1"}
    found, _ = ticks(workspace, "csv", path, {**mapping, "time_format": "epoch", "keep": ["6"]})
    assert found[0]["timestamp"] == 1_717_200_000_123_000_000 and found[0]["symbol"] == "BTCUSDT"
    assert (found[0]["Price"], found[0]["Volume"], found[0]["Seq. No."], found[0]["6"]) == (61000.5, 0.002, 7, "True")


def test_date_and_time_apart_on_a_wall_clock_with_sessions(workspace: Workspace) -> None:
    path = text(
        workspace.data / "x.csv",
        "Symbol;Date;Time;Px;Qty;Cond",
        "IBM;10/07/2013;09:29:59.999;181.5;100;@",
        "IBM;10/07/2013;09:30:00.000001;181.6;200;",
        "MSFT;10/07/2013;16:00:00;33.1;10;T",
    )
    mapping = {"delimiter": ";", "symbol": "Symbol", "date": "Date", "time": "Time", "price": "Px", "volume": "Qty"}
    found, report = ticks(
        workspace, "csv", path,
        {**mapping, "time_format": "%m/%d/%Y %H:%M:%S.%f", "time_zone": "America/New_York", "exchange": "XNYS",
         "qualifiers": "Cond"},
    )  # fmt: skip
    assert [packet["session"] for packet in found] == [1, 0]
    assert stamps(found) == [from_iso("2013-10-07T13:29:59.999Z"), from_iso("2013-10-07T13:30:00.000001Z")]
    assert found[0]["Qualifiers"] == "@" and found[1]["Qualifiers"] is None
    assert report.rejects == {"Time is not a time as %m/%d/%Y %H:%M:%S.%f": 1}  # a fraction is asked for


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2024-01-31T14:30:00Z", "2024-01-31T14:30:00Z"),
        ("2024-01-31 14:30:00.123456789", "2024-01-31T19:30:00.123456789Z"),
        ("2024-01-31T14:30:00.5+01:00", "2024-01-31T13:30:00.5Z"),
        (" 2024-07-31T14:30:00 ", "2024-07-31T18:30:00Z"),
    ],
)
def test_iso_times_with_and_without_zone_may_be_mixed(workspace: Workspace, written: str, moment: str) -> None:
    path = text(
        workspace.data / "x.csv", "timestamp,price,volume,symbol", "2024-01-02T10:00:00,1,1,A", f"{written},2,1,A"
    )
    found, _ = ticks(workspace, "csv", path, {"time_zone": "America/New_York"})
    assert stamps(found) == [from_iso("2024-01-02T15:00:00Z"), from_iso(moment)]


def test_a_wall_clock_time_that_came_twice_or_never_is_refused_not_guessed(workspace: Workspace) -> None:
    rows = [f"2024-{day} {time},1,1,A" for day, time in (
        ("03-10", "01:59:59"), ("03-10", "02:30:00"), ("03-10", "03:00:00"),
        ("11-03", "00:59:59"), ("11-03", "01:30:00"), ("11-03", "02:00:00"),
    )]  # fmt: skip
    path = text(workspace.data / "x.csv", "timestamp,price,volume,symbol", *rows)
    found, report = ticks(workspace, "csv", path, {"time_zone": "America/New_York"})
    assert len(found) == 4 and report.rejects.total() == 2
    refused = (workspace.data / "refused.csv").read_text()
    assert "\n3," in refused and "\n6," in refused


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_000_000_000 * NS), st.sampled_from(["s", "ms", "us", "ns"]))
def test_epochs_lose_no_digit(tmp_path_factory: pytest.TempPathFactory, moment: int, unit: str) -> None:
    folder = tmp_path_factory.mktemp("epoch")
    digits = {"s": 9, "ms": 6, "us": 3, "ns": 0}[unit]
    whole, rest = divmod(moment, 10**digits)
    written = f"{whole}.{rest:0{digits}d}" if digits else str(whole)
    path = text(folder / "x.csv", "timestamp,price,volume,symbol", f"{written},1,1,A")
    found, _ = ticks(Workspace(folder, "demo"), "csv", path, {"time_format": "epoch", "time_unit": unit})
    assert stamps(found) == [moment]


@settings(max_examples=40, deadline=None)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)), st.sampled_from(["Europe/London", "Asia/Tokyo"]))
def test_wall_clocks_agree_with_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, zone: str
) -> None:
    folder = tmp_path_factory.mktemp("zone")
    path = text(folder / "x.csv", "timestamp,price,volume,symbol", f"{moment:%Y-%m-%d %H:%M:%S.%f},1,1,A")
    found, report = ticks(Workspace(folder, "demo"), "csv", path, {"time_zone": zone})
    readings = {moment.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)}
    if len(readings) == 2:  # that hour came twice, or never
        assert not found and report.rejects.total() == 1
    else:
        since = readings.pop() - datetime(1970, 1, 1, tzinfo=UTC)
        assert stamps(found) == [(since.days * 86_400 + since.seconds) * NS + since.microseconds * 1_000]


def test_bad_cells_refuse_their_row_and_nothing_else(workspace: Workspace) -> None:
    lines = ["1700000000,1,1,A", "soon,1,1,A", ",1,1,A", "1700000001,x,1,A", "1700000002,1,0,A", "1700000003,inf,1,A",
             "1700000004,1,1,", "99999999999999,1,1,A", "1700000005,1,1,A"]  # fmt: skip
    path = text(workspace.data / "x.csv", "timestamp,price,volume,symbol", *lines)
    found, report = ticks(workspace, "csv", path, {"time_format": "epoch", "time_unit": "s"})
    assert stamps(found) == [1_700_000_000 * NS, 1_700_000_005 * NS]
    assert report.rows == 9 and report.rejects.total() == 7


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("suffix", [*PACKERS, ".zip"])
def test_compressed_files_are_read_and_damaged_ones_refused_whole(workspace: Workspace, suffix: str) -> None:
    random = np.random.default_rng(0)
    lines = "".join(f"{1_700_000_000_000 + i},{random.random() + 1},{i + 1},A\n" for i in range(3000))
    content = ("timestamp,price,volume,symbol\n" + lines).encode()
    path = workspace.data / f"x.csv{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.csv", content)
    else:
        path.write_bytes(PACKERS[suffix](content))
    found, _ = ticks(workspace, "csv", path, {"time_format": "epoch"})
    assert len(found) == 3000
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged or cut short"):
        ticks(workspace, "csv", path, {"time_format": "epoch"})
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is not a \w+ file although its name says so"):
        ticks(workspace, "csv", path, {"time_format": "epoch"})


def test_an_archive_with_two_files_is_refused(workspace: Workspace) -> None:
    path = workspace.data / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x\n")
        archive.writestr("b.csv", "x\n")
    with pytest.raises(UserError, match="holds 2 files"):
        ticks(workspace, "csv", path)


def test_decimal_commas_tabs_and_a_byte_order_mark_are_read(workspace: Workspace) -> None:
    lines = ["1700000000\t1.234,5\t10", "1700000001\t1234,5\t10,25", "1700000002\t12.5\t10"]
    path = workspace.data / "x.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())
    mapping = {"delimiter": "tab", "header": False, "decimal": ",", "time": "1", "price": "2", "volume": "3"}
    found, report = ticks(workspace, "csv", path, {**mapping, "ticker": "A", "time_format": "epoch", "time_unit": "s"})
    assert [(one["Price"], one["Volume"]) for one in found] == [(1234.5, 10.25)]
    assert report.rejects == {"2 is not a number": 2}  # what is meant by a point is not guessed
    path.write_bytes(b"\xef\xbb\xbf" + lines[1].encode())
    found, _ = ticks(workspace, "csv", path, {**mapping, "ticker": "A", "time_format": "epoch", "time_unit": "s"})
    assert stamps(found) == [1_700_000_001 * NS]  # a clean chunk, too
    with pytest.raises(UserError, match="delimiter '::' is not one character"):
        ticks(workspace, "csv", path, {**mapping, "delimiter": "::"})


@pytest.mark.parametrize("many", [False, True])
def test_the_sdk_passes_parameters_on_and_a_project_keeps_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    from lit.sdk.data.adapter import load_adapter as load_dataset
    from lit.sdk.data.adapter import load_adapter_by_project
    from lit.streams.projects import Project, save_project

    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    raw = workspace.folder("raw")
    rows = [f"2024-01-02T10:00:0{second},{second + 1},1,AB" for second in range(3)]
    text(raw / "a.csv", "t,p,q,who", *rows)
    text(raw / "b.csv", "t,p,q,who", *(row.replace("AB", "CD") for row in rows))
    names = ["a.csv", "b.csv"] if many else ["a.csv"]
    parameters = {"time": "t", "price": "p", "volume": "q", "symbol": "who", "time_zone": "America/New_York"}
    save_project(workspace, "mine", Project(names, [], "csv", parameters))
    for adapter in (
        load_dataset("demo", "csv", {"paths": names, **parameters}),
        load_adapter_by_project("demo", "mine"),
    ):
        with pytest.warns(UserWarning, match="cache"):
            assert len(adapter) == 3 * len(names)
        assert adapter[2]["Date-Time"] == "2024-01-02T15:00:02.000Z" and adapter[2]["symbol"] == "AB"
        assert adapter.get_bars(2, 2, "second", 1, prevent_lookahead_bias=False)[:, 3].tolist() == [2, 3]
    with pytest.raises(UserError, match="'tiem' is not known"):
        load_dataset("demo", "csv", {"paths": names, "tiem": "t"})


# --- parquet


def table(count: int = 1000) -> pa.Table:
    begin = from_iso("2024-03-01T15:00:00Z")
    return pa.table(
        {
            "t": pa.array(begin + np.arange(count) * 1_000_000, pa.int64()),
            "p": pa.array(100 + np.arange(count) / 8),
            "q": pa.array(np.arange(count) + 1, pa.int32()),
            "s": pa.array(["A", "B"] * (count // 2)),
        }
    )


MAPPING = {"time": "t", "price": "p", "volume": "q", "symbol": "s"}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (pa.int64(), {}),
        (pa.timestamp("ns", "UTC"), {}),
        (pa.timestamp("us", "America/New_York"), {}),
        (pa.timestamp("us"), {}),
        (pa.timestamp("ms", "Asia/Tokyo"), {}),
    ],
)
def test_parquet_times_of_any_type_and_unit(
    workspace: Workspace, kind: pa.DataType, parameters: dict[str, Any]
) -> None:
    wanted = table()
    path = workspace.data / "x.parquet"
    times = wanted["t"].cast(pa.timestamp("ns", "UTC")).cast(kind) if kind != pa.int64() else wanted["t"]
    pq.write_table(wanted.set_column(0, "t", times), path, row_group_size=300)
    found, report = ticks(workspace, "parquet", path, {**MAPPING, **parameters})
    assert report.ticks == 1000 and sorted(stamps(found)) == wanted["t"].to_pylist()
    first = [packet for packet in found if packet["symbol"] == "A"]
    assert [packet["Price"] for packet in first] == wanted["p"].to_pylist()[::2]


def test_parquet_wall_clock_decimals_nulls_and_dictionaries(workspace: Workspace) -> None:
    wanted = pa.table(
        {
            "t": pa.array([datetime(2024, 7, 1, 9, 30), None, datetime(2024, 7, 1, 9, 31)], pa.timestamp("us")),
            "p": pa.array([None if v is None else v for v in ("1.25", "2", "3.5")]).cast(pa.decimal128(10, 2)),
            "q": pa.array([1, 2, None], pa.int16()),
            "s": pa.array(["A", "A", "B"]).dictionary_encode(),
        }
    )
    path = workspace.data / "x.parquet"
    pq.write_table(wanted, path)
    found, report = ticks(workspace, "parquet", path, {**MAPPING, "time_zone": "America/New_York", "exchange": "XNYS"})
    assert [(p["Price"], p["Volume"], p["session"]) for p in found] == [(1.25, 1, 0)]
    assert stamps(found) == [from_iso("2024-07-01T13:30:00Z")]
    assert report.rejects == {"t is missing": 1, "q is missing": 1}
    assert "3,q is missing" in (workspace.data / "refused.csv").read_text()


def test_of_a_file_that_is_no_table_nothing_is_told(workspace: Workspace) -> None:
    path = workspace.data / "token"
    path.write_text("s3cret-of-somebody\n")
    with pytest.raises(UserError, match=r"misses the column\(s\)") as told:
        ticks(workspace, "csv", path, {**MAPPING, "time_zone": "America/New_York", "exchange": "XNYS"})
    assert "s3cret" not in str(told.value)


def test_a_parquet_file_that_is_none_or_lacks_a_column_is_one_sentence(workspace: Workspace) -> None:
    path = workspace.data / "x.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"x\.parquet cannot be read by adapter 'parquet'"):
        ticks(workspace, "parquet", path, MAPPING)
    pq.write_table(table().drop_columns(["q"]), path)
    with pytest.raises(UserError, match=r"misses the column\(s\) q.*'t,p,s'"):
        ticks(workspace, "parquet", path, MAPPING)
    pq.write_table(table(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"\0" * 400 + whole[600:])
    with pytest.raises(UserError, match="damaged"):
        ticks(workspace, "parquet", path, MAPPING)
    with pytest.raises(UserError, match="does not exist"):
        ticks(workspace, "parquet", workspace.data / "none.parquet", MAPPING)


# --- databento


def dbn(path: Path, records: list[Any], schema: str = "trades", dataset: str = "XNAS.ITCH") -> Path:
    import databento_dbn as d

    interval = SimpleNamespace(start_date=date(2024, 3, 1), end_date=date(2024, 3, 2), symbol="5")
    day = SimpleNamespace(raw_symbol="AAPL", intervals=[interval])
    start = from_iso("2024-03-01T00:00:00Z")
    metadata = d.Metadata(dataset, start, d.SType.RAW_SYMBOL, d.SType.INSTRUMENT_ID, d.Schema.from_str(schema),
                          symbols=["AAPL"], mappings=[day])  # fmt: skip
    content = bytes(metadata) + b"".join(bytes(record) for record in records)
    path.write_bytes(pa.compress(content, codec="zstd", asbytes=True) if path.suffix == ".zst" else content)
    return path


def trade(number: int, **other: Any) -> Any:
    import databento_dbn as d

    begin = from_iso("2024-03-01T14:30:00Z")
    known = {
        "publisher_id": 2, "instrument_id": 5, "ts_event": begin + number * 7, "price": 180_250_000_001 + number,
        "size": 100 + number, "action": d.Action.TRADE, "side": d.Side.BID, "depth": 0, "ts_recv": begin + number * 9,
        "sequence": number,
    }  # fmt: skip
    return d.TradeMsg(**{**known, **other})


@pytest.mark.parametrize("name", ["x.dbn", "x.dbn.zst"])
def test_dbn_trades_are_read_with_symbols_and_all_digits(workspace: Workspace, name: str) -> None:
    found, _ = ticks(workspace, "databento", dbn(workspace.data / name, [trade(number) for number in range(100)]))
    begin = from_iso("2024-03-01T14:30:00Z")
    assert stamps(found) == [begin + number * 7 for number in range(100)]
    assert found[3]["Price"] == 180.250000004 and found[3]["Volume"] == 103 and found[3]["Seq. No."] == 3
    assert {packet["symbol"] for packet in found} == {"AAPL"} and found[0]["session"] == 0 and found[0]["side"] == "B"
    later, _ = ticks(workspace, "databento", workspace.data / name, {"clock": "ts_recv"})
    assert stamps(later)[1] == begin + 9


def test_dbn_records_without_price_or_trade_are_told_apart(workspace: Workspace) -> None:
    import databento_dbn as d

    records = [
        trade(0), trade(1, price=2**63 - 1), trade(2, action=d.Action.CANCEL), trade(3, ts_event=2**64 - 1),
        trade(4, instrument_id=77), trade(5, size=0),
    ]  # fmt: skip
    found, report = ticks(workspace, "databento", dbn(workspace.data / "x.dbn", records))
    assert [(packet["symbol"], packet["Seq. No."]) for packet in found] == [("AAPL", 0), ("77", 4)]
    assert report.skipped == {"no trade": 1}
    assert report.rejects == {"price is missing": 1, "ts_event is missing": 1, "size is not positive": 1}


def test_dbn_files_that_are_cut_short_or_of_another_schema_are_refused(workspace: Workspace) -> None:
    path = dbn(workspace.data / "x.dbn", [trade(number) for number in range(10)])
    path.write_bytes(path.read_bytes()[:-11])
    with pytest.raises(UserError, match=r"x\.dbn cannot be read.*truncated"):
        ticks(workspace, "databento", path)
    with pytest.raises(UserError, match="schema ohlcv-1s"):
        ticks(workspace, "databento", dbn(workspace.data / "bars.dbn", [], "ohlcv-1s"))
    text(path, "no dbn at all")
    with pytest.raises(UserError, match=r"x\.dbn cannot be read by adapter 'databento'"):
        ticks(workspace, "databento", path)


# --- lean


def test_a_real_lean_zip_gives_the_same_ticks_as_the_tick_history_file_made_of_it(workspace: Workspace) -> None:
    plan = plan_files(workspace, "lean", [DATA / "20131007_trade.zip"], {"suffix": ".N"})
    other = plan_files(workspace, "refinitiv", [SAMPLES / "IBM.N_20131007.csv.gz"])
    mine, theirs = ([block for _, block in blocks(each, ReplayProgress(0))] for each in (plan, other))
    assert {block.symbol for block in mine} == {"IBM.N"}
    for name in ("timestamp", "price", "volume"):
        joined, wanted = (np.concatenate([getattr(block, name) for block in part]) for part in (mine, theirs))
        assert joined.tobytes() == wanted.tobytes()
    sessions = [pa.chunked_array([b.batch.column("session") for b in part]).to_pylist() for part in (mine, theirs)]
    assert sessions[0] == sessions[1]
    assert mine[0].packet(0)["Qualifiers"] == "20002020" and mine[0].packet(0)["Ex/Cntrb.ID"] == "P"


def test_lean_prices_clock_changes_and_suspicious_ticks(workspace: Workspace) -> None:
    path = workspace.data / "20240311_trade.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "20240311_brk.b_Trade_Tick.csv", "34200000,4031234,5,N,1,0\n34200001,1,5,N,1,1\n34200002,0,5,N,1,0\n"
        )
    found, report = ticks(workspace, "lean", path, {"suspicious": False})
    assert stamps(found) == [from_iso("2024-03-11T13:30:00Z")] and found[0]["Price"] == 403.1234  # summer time
    assert found[0]["symbol"] == "BRK.B"
    assert report.skipped == {"suspicious": 1} and report.rejects == {"price is not positive": 1}
    assert "suspicious" in (workspace.data / "refused.csv").read_text()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("20240311_ibm_minute_trade.csv", "1,1,1,1,1,1\n")
    with pytest.raises(UserError, match="not named as LEAN names"):
        ticks(workspace, "lean", path)


# --- parameters


def test_wrong_parameters_are_named_with_what_fits(workspace: Workspace) -> None:
    path = text(workspace.data / "x.csv", "timestamp,price,volume,symbol", "1,1,1,A")
    for parameters, words in [
        ({"tiem": "x"}, "'tiem' is not known to adapter 'csv': it takes delimiter, header, decimal, time,"),
        ({"header": "yes"}, "'header' is 'yes': give true or false"),
        ({"keep": "a"}, r"'keep' is 'a': give a list"),
        ({"time_zone": "Mars/Olympus"}, "time zone 'Mars/Olympus' does not exist"),
        ({"time_format": "epoch", "time_unit": "days"}, "time unit 'days' is unknown"),
        ({"exchange": "NYSEX", "time_format": "epoch"}, "exchange 'NYSEX' has no calendar"),
        ({"price": "Px"}, r"misses the column\(s\) Px"),
    ]:
        with pytest.raises(UserError, match=words):
            ticks(workspace, "csv", path, parameters)


def test_parameters_are_part_of_the_digest_and_defaults_are_not(workspace: Workspace) -> None:
    plain = load_adapter(workspace, "csv")
    assert load_adapter(workspace, "csv", {"time_zone": "UTC", "keep": []}).digest == plain.digest
    first, second = ({"time_zone": "Asia/Tokyo", "price": "p"}, {"price": "p", "time_zone": "Asia/Tokyo"})
    assert load_adapter(workspace, "csv", first).digest == load_adapter(workspace, "csv", second).digest != plain.digest


def test_a_qualifier_filter_is_a_parameter_too(workspace: Workspace) -> None:
    path = SAMPLES / "IBM.N_20131007.csv.gz"
    _, report = ticks(workspace, "refinitiv", path, {"exclude": {"extended hours": "T "}})
    assert report.skipped["extended hours"] > 0
    assert report.ticks + report.skipped.total() == len(real_ticks("IBM.N", 1))
