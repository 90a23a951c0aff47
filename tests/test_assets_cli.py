"""lit assets: what users see of an asset, and where a sample came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lit.cli import app
from lit.cli.asset_tables import curve, sparkline
from lit.features.dataset import DatasetAdapter
from lit.streams.errors import UserError
from lit.streams.replay import ReplayProgress, blocks, plan_files
from lit.streams.store_open import open_store
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace
from lit.trainer.source_packet import source_packet
from tests.tape import SAMPLES
from tests.test_promotions import build

PATHS = [SAMPLES / f"{symbol}_20131007.csv.gz" for symbol in ("BAC.N", "IBM.N")]


@pytest.fixture
def team(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    build(workspace)
    return workspace


def lit(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["assets", *arguments])
    if isinstance(done.exception, UserError):
        assert code == 2, done.exception
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_an_asset_is_listed_audited_promoted_and_demoted(team: Workspace) -> None:
    assert "queued" in lit("list") and "no assets yet" in lit("list", "--team", "other")
    shown = lit("audit", "small")
    assert "60 samples" in shown and "bars (20 × 8, float32, input)" in shown and "mean_trade_size" in shown
    assert "█" in shown and "0: " in shown  # histograms, and the classes of the label
    assert "in " in lit("audit", "small", "--html", str(team.data / "audit.html"))
    page = (team.data / "audit.html").read_text("utf-8")
    assert "mean_trade_size" in page and "<html>" in page and "http" not in page.split("<body>")[1]
    assert "cannot be written" in lit("audit", "small", "--html", "/nonesuch/x.html", code=2)
    audit = json.loads(lit("audit", "small", "--json"))
    assert audit["train"]["samples"] == 60 and [f["name"] for f in audit["features"]] == ["atr", "bars", "up"]
    assert "promoted by ann" in lit("promote", "small", "--by", "ann", "--note", "first")
    assert json.loads(lit("list", "--json"))[0]["state"] == "promoted"
    assert "nothing in its queue" in lit("promote", "small", code=2)
    assert "promoted by ann: first" in lit("show", "small")
    assert "in its queue" in lit("demote", "small", "--by", "ben")
    shown = json.loads(lit("show", "small", "--json"))
    assert [one["action"] for one in shown["history"]] == ["promote", "demote"]
    assert shown["features"]["atr"] == {"shape": [20, 1], "columns": ["atr"]}
    assert "no asset 'nonesuch'" in lit("audit", "nonesuch", code=2)


def test_verify_ends_with_1_for_content_that_changed(team: Workspace) -> None:
    import h5py

    assert lit("verify", "small").count("intact") == 2
    with h5py.File(team.path("assets", "small", "queue") / "train.h5", "r+") as file:
        file["up"][0] = 7
    assert "CHANGED" in lit("verify", "small", code=1)


def test_samples_come_by_number_and_by_seed(team: Workspace) -> None:
    first = json.loads(lit("sample", "small", "--index", "3", "--json"))
    assert (first["number"], first["symbol"], len(first["features"]["bars"]["rows"])) == (3, "IBM", 20)
    assert "does not say which files" in first["packet_error"]
    drawn = {json.loads(lit("sample", "small", "--seed", seed, "--json"))["number"] for seed in "11122233345"}
    assert 3 <= len(drawn) <= 5
    assert json.loads(lit("sample", "small", "--index", "-1", "--part", "test", "--json"))["number"] == 19
    shown = lit("sample", "small", "--shuffle")
    assert "chart" in shown and "bars (20 × 8)" in shown
    assert "has no sample 60: it has 60" in lit("sample", "small", "--index", "60", code=2)
    assert "give one of them" in lit("sample", "small", "--index", "6", "--shuffle", code=2)


def snapshot(workspace: Workspace, origins: bool) -> tuple[dict[str, Any], list[TickBlock]]:
    plan = plan_files(workspace, "refinitiv", PATHS)
    progress = ReplayProgress(0)
    held = [TickBlock(b.symbol, b.first_index, b.batch, f"origin {b.symbol}") for _, b in blocks(plan, progress)]
    frozen: dict[str, Any] = {
        "schema": {"adapter": "refinitiv", "name": "small"},
        "files": {str(file.path): file.digest for file in plan.files},
        "segments": progress.segments,
    }
    if origins:
        frozen["origins"] = [f"origin {symbol}" for symbol, _ in progress.segments]
    return frozen, held


def test_the_source_packet_is_that_of_the_dataset(workspace: Workspace, tmp_path: Path) -> None:
    frozen, held = snapshot(workspace, origins=True)
    adapter = DatasetAdapter.of_blocks(held)
    bare, _ = snapshot(workspace, origins=False)
    seam = dict(frozen["segments"])["BAC.N"]
    with open_store(tmp_path, None) as stores:
        store = stores.team(workspace.team)
        store.insert("refinitiv", 0, list(enumerate(block for block in held if block.symbol == "IBM.N")))
        for index in (seam - 1, seam):
            packet = adapter[index]
            for of, asked in ((frozen, None), (frozen, store), (bare, None)):
                assert source_packet(workspace, of, index, packet["timestamp"], asked) == packet
        files = dict.fromkeys(("/gone/a.csv.gz", "/gone/b.csv.gz"), "")
        packet = adapter[seam + 5]
        assert source_packet(workspace, frozen | {"files": files}, seam + 5, packet["timestamp"], store) == packet
    with pytest.raises(UserError, match="is not in the files"):
        source_packet(workspace, frozen, len(adapter), 0)
    with pytest.raises(UserError, match="have changed"):
        source_packet(workspace, frozen, 7, 0)
    with pytest.raises(UserError, match="does not say which files"):
        source_packet(workspace, {"features": {}}, 7, 0)


def test_lines_of_bars_show_what_is_there() -> None:
    assert sparkline([0, 1, 1000, 500]) == " ▁█▄" and sparkline([]) == ""
    assert len(sparkline(list(range(40)))) == 20
    assert curve([1.0, 2.0, float("nan"), 3.0]) == "▁▅ █" and curve([5.0, 5.0]) == "▁▁"
