"""`lit adapter`: what a check says of a file, and the tutorial's adapter as its readers write it."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lit.cli import app
from lit.streams.adapter_files import adapter_info, adapter_infos, delete_adapter, new_adapter, save_adapter
from lit.streams.errors import UserError
from lit.streams.file_check import FileCheck, check_file
from lit.streams.outliers import DEVIATIONS, FLOOR, NEIGHBOURS, OutlierScan
from lit.streams.sources import load_adapter
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

TUTORIAL = (Path(__file__).parent.parent / "docs" / "adapters.md").read_text("utf-8")
SECOND = 10**9


def code(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TUTORIAL, re.DOTALL)
    assert found is not None
    return found[1]


def lit(data: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("LIT_DATA", str(data))
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_the_tutorials_adapter_does_what_the_tutorial_says(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace.data / "tape.csv"
    path.write_text(code("csv"))
    assert lit(workspace.data, "adapter", "new", "vendor", monkeypatch=monkeypatch)[0] == 0
    (workspace.root / "adapters" / "vendor.py").write_text(code("python"))
    status, out = lit(workspace.data, "adapter", "check", "vendor", str(path), "--json", monkeypatch=monkeypatch)
    found = json.loads(out)
    assert status == 0
    assert (found["rows"], found["ticks"], found["skipped"]) == (4, 2, {"busted": 1})
    assert found["rejects"] == {"px is not a number": 1}
    assert {example["line"]: example["reason"] for example in found["examples"]} == {
        3: "busted", 4: "px is not a number",
    }  # fmt: skip
    assert found["first"] == "2023-10-02T13:30:00.125Z" and found["symbols"]["ESZ3"]["sessions"]["regular"] == 2
    for said in ("4 rows, 2 ticks", "busted", "px is not a number", "line 4"):
        assert said in lit(workspace.data, "adapter", "check", "vendor", str(path), monkeypatch=monkeypatch)[1]
        assert said.split(",")[0] in TUTORIAL


def test_all_calls_that_the_tutorial_lists_exist(workspace: Workspace) -> None:
    from lit.streams.ingest_rows import Rows

    for name in set(re.findall(r"`?rows\.(\w+)\(", TUTORIAL)):
        assert callable(getattr(Rows, name)), name
    for name in re.findall(r"\| `lit adapter (\w+)", TUTORIAL):
        assert name in ("list", "show", "new", "check")


def test_the_template_works_as_it_is(workspace: Workspace) -> None:
    path = workspace.data / "x.csv"
    path.write_text(
        "Symbol,Time,Price,Size,Condition\nA,2024-01-02T15:00:00Z,1.5,10,\nA,2024-01-02 15:00:01,x,1,\nA,,,,Q\n"
    )
    assert new_adapter(workspace, "mine").name == "mine.py"
    found = check_file(path, load_adapter(workspace, "mine"))
    assert (found.ticks, found.skipped, found.rejects) == (1, {"quote": 1}, {"Price is not a number": 1})
    with pytest.raises(UserError, match="exists already"):
        new_adapter(workspace, "mine")
    with pytest.raises(UserError, match="exists already"):
        new_adapter(workspace, "csv")


def test_every_parameter_of_a_shipped_adapter_is_explained(workspace: Workspace) -> None:
    infos = adapter_infos(workspace)
    assert [info.name for info in infos] == ["csv", "databento", "lean", "parquet", "refinitiv"]
    for info in infos:
        assert info.origin == "shipped" and info.summary and not info.error
        assert info.source.count("\n") <= 100, f"{info.name} is longer than a screenful or two"
        for parameter in info.parameters:
            assert parameter.help, f"{info.name}: {parameter.name}"


def test_an_edited_copy_wins_and_can_be_taken_back(workspace: Workspace) -> None:
    shipped = adapter_info(workspace, "lean")
    digest = load_adapter(workspace, "lean").digest
    assert adapter_info(workspace, "lean").origin == "shipped"  # copied, but not changed
    edited = save_adapter(workspace, "lean", shipped.source.replace('exchange="XNYS"', 'exchange="XNAS"'))
    assert edited.origin == "edited" and load_adapter(workspace, "lean").digest == edited.digest != digest
    delete_adapter(workspace, "lean")
    assert load_adapter(workspace, "lean").digest == digest
    with pytest.raises(UserError, match="no adapter 'none'"):
        delete_adapter(workspace, "none")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def read(rows:", "line 1"),
        ("COLUMNS = {}", "defines no read"),
        ("def read(rows, *, zone): ...", "'zone' has no default"),
        ("def read(rows, *, zone=ZONE): ...", "'zone' needs a plain default"),
        ("def read(rows, *, a=1): ...\ndef columns(*, a=2): ...", "'a' has another default"),
        ("x = '\0'", "null"),
    ],
)
def test_a_source_that_cannot_work_is_not_saved(workspace: Workspace, source: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        save_adapter(workspace, "mine", source)
    assert not (workspace.root / "adapters" / "mine.py").exists()


def test_errors_of_an_adapters_own_code_name_its_line(workspace: Workspace) -> None:
    path = workspace.data / "x.csv"
    path.write_text("a\n1\n")
    for source, words in (
        ("COLUMNS = {'a': 'number'}\ndef read(rows):\n    return 1 / 0", "line 3: ZeroDivisionError"),
        ("COLUMNS = {'a': 'number'}\ndef read(rows):\n    return {'symbol': []}", "returned no timestamp"),
        ("COLUMNS = {'a': 'money'}\ndef read(rows): ...", "unknown kinds"),
        ("COLUMNS = 1 / 0\ndef read(rows): ...", "line 1: ZeroDivisionError"),
        ("COLUMNS = {'a': 'number'}\nLAYOUTS = [('b',)]\ndef read(rows): ...", "lacks b"),
    ):
        save_adapter(workspace, "mine", source)
        with pytest.raises(UserError, match=words):
            check_file(path, load_adapter(workspace, "mine"))


# --- what a check finds


def check(workspace: Workspace, *lines: str) -> FileCheck:
    path = workspace.data / "x.csv"
    path.write_text("timestamp,price,volume,symbol,seq,cond\n" + "".join(line + "\n" for line in lines))
    mapping = {"time_format": "epoch", "time_unit": "s", "sequence": "seq", "qualifiers": "cond"}
    return check_file(path, load_adapter(workspace, "csv", mapping))


def test_repeats_duplicates_order_and_numbers_are_counted(workspace: Workspace) -> None:
    found = check(
        workspace,
        "1700000000,1,1,A,1,x",
        "1700000000,1,1,A,1,x",  # a duplicate
        "1700000000,1,1,A,2,x",  # a repeat
        "1700000000,1,1,A,3,y",  # the same time alone
        "1700000010,1,1,A,7,y",  # numbers 4 to 6 are missing
        "1700000000,1,1,B,1,x",
        "1700000004.5,1,1,A,8,y",  # late
        "1700000011,1,1,A,9,",
        "1700000011,1,1,A,9,",
    ).symbols["A"]
    assert (found.repeats, found.duplicates, found.equal_times) == (3, 2, 4)
    assert (found.late, found.furthest_back) == (1, 5.5)
    assert (found.sequence_gaps, found.sequence_repeats) == (1, 2)


def test_silences_are_told_from_breaks_and_from_a_quiet_market(workspace: Workspace) -> None:
    begin = 1_700_000_000
    steady = [begin + second for second in range(500)]
    after = [steady[-1] + 600 + second for second in range(500)]  # ten minutes without a tick
    next_day = [after[-1] + 60_000 + second for second in range(100)]
    found = check(workspace, *(f"{second},1,1,A,," for second in [*steady, *after, *next_day])).symbols["A"]
    assert (found.silences, found.breaks) == (1, 1)
    assert found.longest_silences[0].seconds == 600
    quiet = check(workspace, *(f"{begin + 300 * place},1,1,A,," for place in range(200))).symbols["A"]
    assert (quiet.silences, quiet.breaks) == (0, 0)  # five minutes is usual here


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 400), max_size=6))
def test_outliers_are_those_of_the_rule_however_blocks_are_cut(seed: int, cuts: list[int]) -> None:
    random = np.random.default_rng(seed)
    prices = np.round(100 + np.cumsum(random.normal(0, 0.02, 400)), 2)
    hits = random.choice(400, 5, replace=False)
    prices[hits] *= random.choice([0.9, 1.02, 1.5], 5)
    stamps = np.arange(400) * SECOND
    scan = OutlierScan(400)
    edges = [0, *sorted(cuts), 400]
    for low, high in itertools.pairwise(edges):
        if high > low:
            scan.feed(stamps[low:high], prices[low:high])
    count, found = scan.finish()
    expected = []
    for place in range(400):
        around = np.concatenate(
            (prices[max(place - NEIGHBOURS, 0) : place], prices[place + 1 : place + 1 + NEIGHBOURS])
        )
        median = np.median(around)
        distance = abs(prices[place] - median)
        if distance > DEVIATIONS * np.abs(around - median).mean() and distance > FLOOR * median:
            expected.append((float(prices[place]), float(median)))
    assert [(one.price, one.median) for one in found] == expected and count == len(expected)


def test_a_fat_finger_in_a_real_day_is_found_among_few_others(workspace: Workspace) -> None:
    import gzip

    text = gzip.decompress((SAMPLES / "IBM.N_20131007.csv.gz").read_bytes()).decode().splitlines()
    cells = text[9000].split(",")
    cells[6] = f"{float(cells[6]) * 10:.2f}"
    text[9000] = ",".join(cells)
    path = workspace.data / "x.csv"
    path.write_text("\n".join(text) + "\n")
    found = check_file(path, load_adapter(workspace, "refinitiv")).symbols["IBM.N"]
    assert float(cells[6]) in [one.price for one in found.first_outliers]
    assert found.outliers < len(real_ticks("IBM.N", 1)) / 1000
    assert found.sessions["regular"] > 20_000 and found.ticks == len(real_ticks("IBM.N", 1))
