"""The refinitiv adapter: both generations of Tick History, columns in any order, sessions, rows that are no trade."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.streams.errors import UserError
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.ingest_bytes import verify
from lit.streams.sources import load_adapter
from lit.streams.tick import TickBlock, from_iso
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

DATA = Path(__file__).parent / "data"


def read(workspace: Workspace, path: Path, **options: int) -> tuple[dict[str, TickBlock], FileReport, str]:
    """Read a file whole: a block a symbol, the report, and the quarantine's text."""
    report, refused = FileReport(path), workspace.data / "refused.csv"
    refused.unlink(missing_ok=True)
    parts: dict[str, list[TickBlock]] = {}
    for piece in read_ticks(verify(path), load_adapter(workspace, "refinitiv"), refused, report, **options):
        parts.setdefault(piece.symbol, []).append(TickBlock(piece.symbol, 0, piece.batch))
    import pyarrow as pa

    blocks = {
        symbol: TickBlock(
            symbol,
            0,
            pa.Table.from_batches([p.batch for p in own]).unify_dictionaries().combine_chunks().to_batches()[0],
        )
        for symbol, own in parts.items()
    }
    return blocks, report, refused.read_text() if refused.exists() else ""


def write(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))
    return path


def test_generation_1_keeps_trades_skips_quotes_and_refuses_a_trade_without_price(workspace: Workspace) -> None:
    blocks, report, refused = read(workspace, DATA / "generation1_trades_quotes.csv")
    packet = blocks["SPY"].packet(0)
    assert len(blocks["SPY"]) == 1
    assert packet["timestamp"] == from_iso("2012-05-01T11:36:55.641Z")
    assert (packet["Price"], packet["Volume"]) == (140.03, 100)
    assert packet["Qualifiers"] == "  T   [GV4_TEXT];131[IRGCOND];NBL[PRC_QL2]"
    assert packet["session"] == 1  # 07:36 in New York
    assert report.skipped["quote"] == 1 and sum(report.rejects.values()) == 1
    assert refused.splitlines()[1].startswith("4,")


@pytest.mark.parametrize(
    ("name", "symbol", "count", "first", "session"),
    [
        ("generation2_trades.csv", "TRI.N", 8, "2018-01-04T17:01:15.402881806Z", 0),
        ("generation2_europe.csv", "CARR.PA", 4, "2016-09-29T07:00:11.663334842Z", 0),
    ],
)
def test_generation_2_keeps_nanoseconds_and_equal_stamps(
    workspace: Workspace, name: str, symbol: str, count: int, first: str, session: int
) -> None:
    blocks, report, _ = read(workspace, DATA / name)
    assert len(blocks[symbol]) == count == report.ticks
    assert blocks[symbol].packet(0)["timestamp"] == from_iso(first)
    assert blocks[symbol].packet(0)["session"] == session
    assert blocks[symbol].packet(0)["timestamp"] == blocks[symbol].packet(1)["timestamp"]


def test_real_days_are_read_to_the_last_digit(workspace: Workspace) -> None:
    path = SAMPLES / "IBM.N_20131007.csv.gz"
    blocks, report, refused = read(workspace, path)
    mine, theirs = blocks["IBM.N"], real_ticks("IBM.N", 1)
    assert report.rows == report.ticks == len(theirs) and not refused
    for name in ("timestamp", "price", "volume"):
        assert getattr(mine, name).tobytes() == getattr(theirs, name).tobytes()
    sessions = mine.batch.column("session").to_numpy()
    regular = (mine.timestamp >= from_iso("2013-10-07T13:30:00Z")) & (mine.timestamp < from_iso("2013-10-07T20:00:00Z"))
    assert ((sessions == 0) == regular).all() and set(np.unique(sessions)) == {0, 1, 2}


@settings(max_examples=15)
@given(st.permutations(["#RIC", "Date-Time", "Type", "Price", "Volume", "Qualifiers", "Seq. No."]))
def test_columns_may_come_in_any_order(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    folder = tmp_path_factory.mktemp("order")
    row = {
        "#RIC": "X.N",
        "Date-Time": "2013-10-07T14:00:00.000000001Z",
        "Type": "Trade",
        "Price": "1.5",
        "Volume": "7",
        "Qualifiers": '"a, ""b"" "',
        "Seq. No.": "12",
    }
    path = write(folder / "x.csv.gz", ",".join(order), ",".join(row[name] for name in order))
    blocks, _, _ = read(Workspace(folder, "demo"), path)
    packet = blocks["X.N"].packet(0)
    assert (packet["Price"], packet["Volume"], packet["Seq. No."], packet["Qualifiers"]) == (1.5, 7, 12, 'a, "b" ')


DIRTY = [
    "#RIC,Domain,Date-Time,GMT Offset,Type,Price,Volume,Qualifiers",
    "X.N,Market Price,2013-10-07T14:00:00.000000000Z,-4,Trade,1.5,100,ok",
    "X.N,Market Price,2013-10-07T14:00:01.000000000Z,-4,Trade,oops,100,",
    'Y.N,Market Price,2013-10-07T14:00:02.000000000Z,-4,Trade,2.5,10,"two\nlines"',
    "Y.N,Market Price,2013-10-07T14:00:03.000000000Z,-4,Quote,,,",
    "X.N,Market Price,yesterday,-4,Trade,1.5,100,",
    "X.N,Market Price,2013-10-07T14:00:04.000000000Z,-4,Trade,1.6,100",
    "X.N,Market Price,2013-10-07T14:00:05.000000000Z,-4,Trade,nan,100,",
    "X.N,Market Price,2013-10-07T13:00:00.000000000Z,-4,Trade,1.7,100,late",
    "Y.N,Market Price,2013-10-07T14:00:06.000000000Z,-4,Trade,2.6,-5,",
    "X.N,Market Price,2013-10-07T14:00:07.000000000Z,-4,Trade,1.8,100,ok",
]


@settings(max_examples=25)
@given(st.integers(1, 700))
def test_the_chunks_of_reading_change_nothing(tmp_path_factory: pytest.TempPathFactory, chunk_bytes: int) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    workspace, path = Workspace(folder, "demo"), write(folder / "dirty.csv.gz", *DIRTY)
    blocks, report, refused = read(workspace, path, chunk_bytes=chunk_bytes)
    assert blocks["X.N"].price.tolist() == [1.5, 1.7, 1.8] and blocks["Y.N"].price.tolist() == [2.5]
    assert blocks["Y.N"].packet(0)["Qualifiers"] == "two\nlines"
    assert report.late == 1 and report.skipped["quote"] == 1
    lines = [int(row.split(",")[0]) for row in refused.splitlines() if row.split(",")[0].isdigit()]
    assert lines == [3, 7, 8, 9, 11]  # line numbers of the file, the quoted line break counted
    assert report.rows == report.ticks + report.skipped.total() + report.rejects.total()


def test_a_team_edits_its_own_copy_of_the_adapter(workspace: Workspace) -> None:
    load_adapter(workspace, "refinitiv")
    own = workspace.root / "adapters" / "refinitiv.py"
    text = own.read_text()
    own.write_text(text.replace("NOT_ELIGIBLE: dict[str, str] = {}", 'NOT_ELIGIBLE = {"odd lot": r"I \\[GV4"}'))
    path = write(
        workspace.data / "odd.csv.gz",
        DIRTY[0],
        "X.N,Market Price,2013-10-07T14:00:00.000000000Z,-4,Trade,1.5,100,@ T [GV4_TEXT]",
        "X.N,Market Price,2013-10-07T14:00:01.000000000Z,-4,Trade,1.6,1,@ I [GV4_TEXT]",
    )
    blocks, report, _ = read(workspace, path)
    assert len(blocks["X.N"]) == 1 and report.skipped["odd lot"] == 1


def test_corrections_and_cancels_change_no_tick_and_are_kept_beside(workspace: Workspace) -> None:
    row = "X.N,Market Price,2013-10-07T14:00:0{}.000000000Z,-4,{},{},100,{}"
    path = write(
        workspace.data / "corrected.csv.gz",
        DIRTY[0],
        row.format(0, "Trade", 1.5, "@ [GV4_TEXT]"),
        row.format(1, "Correction", 1.4, ""),
        row.format(2, "Trade Cancel", 1.5, ""),
        row.format(3, "Trade", 1.6, "CANCEL[PRC_QL2]"),
        row.format(4, "Trade", 1.7, "@ [GV4_TEXT]"),
        row.format(5, "Trade", -1, "@ [GV4_TEXT]"),
    )
    blocks, report, kept = read(workspace, path)
    assert blocks["X.N"].price.tolist() == [1.5, 1.7]
    assert report.skipped == {"correction": 1, "cancel": 2} and report.rejects == {"Price is not positive": 1}
    assert {line.split(",")[0]: line.split(",")[1] for line in kept.splitlines()[1:]} == {
        "3": "correction", "4": "cancel", "5": "cancel", "7": "Price is not positive",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("day", "clock", "offset", "moment"),
    [
        ("01-MAY-2012", "07:36:55.641", "-4", "2012-05-01T11:36:55.641Z"),
        ("20120501", "23:30:00.000", "-4", "2012-05-02T03:30:00Z"),  # the session's date is not that of UTC
        ("2012-05-02", "00:10:00.5", "+2", "2012-05-01T22:10:00.5Z"),
        ("01-MAY-2012", "12:00:00", "5.5", "2012-05-01T06:30:00Z"),
    ],
)
def test_local_times_are_utc_by_the_gmt_offset(
    workspace: Workspace, day: str, clock: str, offset: str, moment: str
) -> None:
    path = write(
        workspace.data / "local.csv.gz",
        "#RIC,Date[L],Time[L],GMT Offset,Type,Price,Volume",
        f"X.N,{day},{clock},{offset},Trade,1.5,100",
        f"X.N,{day},{clock},,Trade,1.5,100",
        f"X.N,{day},{clock},east,Trade,1.5,100",
    )
    blocks, report, _ = read(workspace, path)
    assert blocks["X.N"].timestamp.tolist() == [from_iso(moment)]
    assert report.rejects == {"GMT Offset is not a number of hours": 2}


def test_date_time_may_carry_an_offset_of_its_own(workspace: Workspace) -> None:
    path = write(
        workspace.data / "zoned.csv.gz", DIRTY[0], "X.N,M,2013-10-07T10:00:00.000000001-04:00,-4,Trade,1.5,100,ok"
    )
    blocks, _, _ = read(workspace, path)
    assert blocks["X.N"].timestamp.tolist() == [from_iso("2013-10-07T14:00:00.000000001Z")]


@pytest.mark.parametrize("left_out", ["Price", "Date-Time", "Type", "#RIC"])
def test_a_file_without_a_needed_column_is_refused_by_name(workspace: Workspace, left_out: str) -> None:
    names = [name for name in ("#RIC", "Date-Time", "Type", "Price", "Volume") if name != left_out]
    path = write(workspace.data / "x.csv.gz", ",".join(names))
    loaded = load_adapter(workspace, "refinitiv")
    with pytest.raises(UserError, match=rf"misses the column\(s\) {re.escape(left_out)}"):
        verified(path, loaded)
