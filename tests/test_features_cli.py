"""`lit features`: what a user sees when scripts are tried, judged and saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from lit.cli.features import register
from lit.features.tapes import read_tape, tapes_of_files
from lit.streams.errors import UserError
from lit.streams.projects import Project, save_project
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

FILE = str(SAMPLES / "IBM.N_20131007.csv.gz")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    return tmp_path


def lit(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["features", *arguments])


def script(data: Path, name: str, source: str) -> None:
    folder = Workspace(data, "demo").folder("scripts")
    (folder / f"{name}.py").write_text(source)


def test_scripts_are_listed_and_shown_with_their_form(data: Path) -> None:
    script(data, "broken", '"""\nParameters\n----------\nx : quaternion\n"""\n')
    listed = {item["name"]: item for item in json.loads(lit("scripts", "--json").stdout)}
    assert listed["sma"]["from"] == "traders" and "line 4" in listed["broken"]["summary"]
    shown = json.loads(lit("show", "sma", "--json").stdout)
    assert [field["name"] for field in shown["form"]] == ["count", "rate", "size", "unit"]
    assert "count : integer >= 1, default 30" in lit("show", "sma").stdout


def test_a_script_is_tried_at_an_index_of_a_file() -> None:
    result = lit("test", "unit_bar", "--on", FILE, "--index", "20000", "-p", "count=2")
    assert result.exit_code == 0 and "mean_trade_size" in result.stdout and "2 rows" in result.stdout
    assert "read get_bars(i, 2, 'minute', 1)" in result.stdout
    answer = json.loads(lit("test", "unit_bar", "--on", FILE, "-p", "count=1", "--json").stdout)
    assert 0 <= answer["index"] < 24_293


def test_a_feature_is_judged_and_saved_and_listed() -> None:
    saved = lit("save", "next close", "price_next_bars", "-p", "unit=mins")
    assert saved.exit_code == 0 and "next close: label" in saved.stdout and "saved: " in saved.stdout
    listed = json.loads(lit("list", "--json").stdout)
    assert [(item["name"], item["params"]["unit"]) for item in listed] == [("next close", "minute")]
    assert lit("judge", "next close", "--on", FILE).exit_code == 0


def test_what_leaks_is_not_saved_and_is_found_by_judge(data: Path) -> None:
    script(data, "peek", "def feature(adapter, index): return [adapter[index + 1]['Price']]\n")
    refused = lit("save", "peek", "peek")
    assert isinstance(refused.exception, UserError)
    assert "judged leak" in str(refused.exception) and "it read adapter[i + 1]" in str(refused.exception)
    assert lit("list", "--json").stdout.strip() == "[]"
    folder = Workspace(data, "demo").folder("features")
    (folder / "peek.json").write_text('{"name": "peek", "script": "peek", "params": {}}')
    assert lit("judge").exit_code == 1


def test_a_dataset_is_named_by_files_or_by_a_project(data: Path) -> None:
    save_project(Workspace(data, "demo"), "days", Project([FILE]))
    with pytest.warns(UserWarning, match="not cached"):
        by_project = lit("test", "unit_bar", "--project", "days", "--index", "20000", "-p", "count=2")
    by_file = lit("test", "unit_bar", "--on", FILE, "--index", "20000", "-p", "count=2")
    assert by_project.exit_code == 0, by_project.output
    assert by_project.stdout.splitlines()[:3] == by_file.stdout.splitlines()[:3]
    assert "on what" in str(lit("test", "unit_bar").exception)


def test_the_library_from_python(data: Path) -> None:
    from lit.sdk import features
    from lit.sdk.data.adapter import load_adapter

    assert "sma" in features.scripts("demo")
    assert features.save("demo", "bars", "unit_bar", {"count": 2})["kind"] == "clean"
    with pytest.warns(UserWarning, match="not cached"):
        adapter = load_adapter("demo", "refinitiv", {"paths": [FILE]})
        tried = features.test("demo", "bars", adapter, 20_000)
    assert tried["rows"] == adapter.get_bars(20_000, 2, "minute", 1).tolist() and tried["log"] == ""
    source = "def feature(adapter, index):\n    return [adapter[index]['Price']]\n"
    assert features.test("demo", "draft", adapter, 5, source=source)["rows"] == [[adapter[5]["Price"]]]
    assert [verdict["kind"] for verdict in features.save_script("demo", "price", source)] == ["clean"]
    assert features.features("demo")["bars"]["verdict"] == "clean"


def test_a_parameter_without_a_value_is_told() -> None:
    assert "write name=value" in str(lit("save", "x", "sma", "-p", "count").exception)


def test_files_become_tapes_in_dataset_order(tmp_path: Path) -> None:
    paths = sorted(SAMPLES.glob("IBM.N_*.csv.gz"))[:2]
    tapes = [read_tape(path) for path in tapes_of_files(Workspace(tmp_path, "demo"), "refinitiv", paths, tmp_path)]
    whole = real_ticks("IBM.N", days=2)
    assert [tape.symbol for tape in tapes] == ["IBM.N", "IBM.N"] and sum(map(len, tapes)) == len(whole)
    assert b"".join(tape.price.tobytes() for tape in tapes) == whole.price.tobytes()


def test_scripts_are_put_compared_and_deleted_on_the_command_line(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "source.py"
    file.write_text("def feature(adapter, index):\n    return [adapter[index]['Price']]\n")
    assert "price: clean" in lit("put", "price", str(file)).stdout
    assert lit("save", "now", "price").exit_code == 0
    assert json.loads(lit("list", "--json").stdout)[0]["verdict"] == "clean"
    file.write_text("def feature(adapter, index):\n    return [adapter[index]['Volume']]\n")
    assert "now: clean" in lit("put", "price", str(file)).stdout
    assert [one["name"] for one in json.loads(lit("versions", "price", "--json").stdout)] == ["1", "current"]
    assert "-    return [adapter[index]['Price']]" in lit("diff", "price", "1").stdout
    assert "makes feature 'now'" in str(lit("delete", "price", "--script").exception)
    assert lit("delete", "now").exit_code == 0 and lit("delete", "price", "--script").exit_code == 0
    assert lit("list", "--json").stdout.strip() == "[]"


def test_what_a_failing_script_printed_is_shown(data: Path) -> None:
    script(data, "bad", "def feature(adapter, index):\n    print('so far')\n    return [1 / 0]\n")
    failed = lit("test", "bad", "--on", FILE, "--index", "5")
    assert "so far" in failed.stdout and "line 3: ZeroDivisionError" in str(failed.exception)
