"""Whatever a file holds, reading it ends in ticks and counts or in a sentence; the chunks of reading change nothing."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit.streams.errors import UserError
from lit.streams.file_check import check_file
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.sources import Adapter, load_adapter
from lit.streams.workspace import Workspace

HEADER = b"timestamp,price,volume,symbol,note\n"
CELLS = st.sampled_from(
    [b"1700000000", b"1.5", b"10", b"A", b"", b" ", b"nan", b"-1", b"1e400", b'"', b'""', b'"a,b"', b'"a\nb"',
     b"\xff\xfe", b"\xc3\xa4", b"99999999999999999999", b"x" * 300, b"\0", b"\r",
     b"1700000001.123456789123", b"0x10", b"+5", b"1,5"]
)  # fmt: skip
ROWS = st.lists(CELLS, min_size=0, max_size=7).map(b",".join)
SOUND = st.just(b"1700000000,1.5,10,A,ok")
BODIES = st.lists(st.one_of(ROWS, SOUND, SOUND), max_size=25).flatmap(
    lambda rows: st.sampled_from([b"\n", b"\r\n"]).map(lambda end: end.join(rows) + (end if rows else b""))
)
QUIET = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    workspace = Workspace(tmp_path_factory.mktemp("fuzz"), "demo")
    return load_adapter(workspace, "csv", {"time_format": "epoch", "time_unit": "s", "keep": ["note"]})


def outcome(path: Path, adapter: Adapter, chunk_bytes: int) -> Any:
    """Return all that reading says of a file: its ticks, counts, and refused rows; or the sentence."""
    report, refused = FileReport(path), path.with_suffix(".refused")
    refused.unlink(missing_ok=True)
    try:
        found = list(read_ticks(verified(path, adapter), adapter, refused, report, chunk_bytes=chunk_bytes))
    except UserError as error:
        return str(error)
    ticks: dict[str, list[Any]] = {}
    for piece in found:
        ticks.setdefault(piece.symbol, []).extend(piece.batch.to_pylist())
    assert report.rows == report.ticks + report.skipped.total() + report.rejects.total()
    assert report.ticks == sum(map(len, ticks.values()))
    return repr(ticks), report.rows, dict(report.rejects), refused.read_text() if refused.exists() else ""


@QUIET
@given(BODIES, st.integers(1, 400))
def test_any_rows_give_the_same_ticks_and_counts_in_any_chunks(
    adapter: Adapter, tmp_path_factory: pytest.TempPathFactory, body: bytes, chunk_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.csv"
    path.write_bytes(HEADER + body)
    whole = outcome(path, adapter, 1 << 22)
    parts = outcome(path, adapter, chunk_bytes)
    rest = body
    for sound in (b'"a,b"', b'"a\nb"', b'""'):
        rest = rest.replace(sound, b"")
    if b'"' not in rest and not isinstance(whole, str):  # a quote out of place may take the lines behind it along
        lone = b"\r" in body.replace(b"\r\n", b"")  # ends a row, but not a line: where such a row is, is not exact
        assert parts[:3] == whole[:3] if lone else parts == whole
    if not isinstance(whole, str):
        assert check_file(path, adapter).rows == whole[1]


@QUIET
@given(st.binary(max_size=2000))
def test_any_bytes_under_any_name_end_in_a_sentence_or_in_counts(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    workspace = Workspace(folder, "demo")
    for name, suffixes in (
        ("csv", (".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".csv.xz", ".zip")),
        ("parquet", (".parquet",)),
    ):
        loaded = load_adapter(workspace, name)
        for suffix in suffixes:
            path = folder / f"x{suffix}"
            path.write_bytes(content)
            outcome(path, loaded, 1 << 20)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_gzip_file_is_refused_or_was_not_damaged(
    adapter: Adapter, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = HEADER + b"".join(b"170000%04d,1.5,10,A,ok\n" % number for number in range(300))
    packed = bytearray(gzip.compress(content, mtime=0))
    path = tmp_path_factory.mktemp("damage") / "x.csv.gz"
    path.write_bytes(packed)
    sound = outcome(path, adapter, 1 << 20)
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(packed)
    found = outcome(path, adapter, 1 << 20)
    assert isinstance(found, str) or found == sound  # a bit of the header's file name or time may differ


def test_a_cell_of_many_kilobytes_is_a_cell(adapter: Adapter, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    note = b"y" * 200_000
    path.write_bytes(HEADER + b'1700000000,1.5,10,A,"two\nlines"\nbad,1,1,A,' + note + b"\n1700000001,1.5,10,A,\n")
    _, rows, rejects, refused = outcome(path, adapter, 1 << 22)
    assert (rows, sum(rejects.values())) == (3, 1) and refused.splitlines()[1].startswith("4,")
    path.write_bytes(HEADER + b"1700000000,1.5,10,A," + b"y" * 2_000_000 + b"\n")
    assert "longer than 1,048,576 bytes" in outcome(path, adapter, 1 << 16)
