"""Trainings on the command line, and epochs kept: annotated, compared, guarded, exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from lit.cli import runs, train
from lit.cli import vault as commands
from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.asset import Asset, asset_path
from lit.trainer.canvas import parse_canvas, save_canvas
from lit.trainer.runfolder import RunFolder
from tests.training import canvas, write_asset

TEAM = ("--team", "keepers")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), "keepers")
    write_asset(found)
    save_canvas(found, parse_canvas(canvas(epochs=2)))
    return found


@pytest.fixture(autouse=True)
def _configured(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(workspace.data))


@pytest.fixture(scope="module")
def trained(workspace: Workspace, kafka: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIT_DATA", str(workspace.data))
        patch.setenv("LIT_KAFKA", kafka)
        return lit("train", "up", "--description", "first", "--json")


@pytest.fixture(scope="module")
def kept(workspace: Workspace, trained: Result) -> str:
    vault.add(workspace, "volume", 1, 1, "first")
    return "first"


def lit(*arguments: str) -> Result:
    app = typer.Typer()
    train.register(app)
    runs.register(app)
    commands.register(app)
    return CliRunner().invoke(app, [*arguments, *TEAM])


def record(*arguments: str) -> Any:
    done = lit(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_training_shows_each_epoch_and_sums_up_as_json(trained: Result) -> None:
    assert trained.exit_code == 0, trained.output
    summary = json.loads(trained.stdout)
    assert (summary["run"], summary["status"], summary["epochs"]) == ("volume/1", "finished", 2)
    assert "epoch 1/2" in trained.stderr and "val_auc" in trained.stderr
    assert record("runs", "list")[0] == {k: v for k, v in summary.items() if k != "path"}


@pytest.mark.kafka
def test_a_runs_events_are_on_kafka_too(workspace: Workspace, trained: Result, kafka: str) -> None:
    published = [message.value() for message in read_messages(kafka, topics.events("keepers").name, 0)]
    kept = (RunFolder.find(workspace, "volume", 1).state / "events.jsonl").read_bytes().splitlines()
    assert published == kept and [json.loads(each)["status"] for each in kept][-3:] == ["epoch", "epoch", "finished"]


def test_a_check_shows_what_nodes_become_and_trains_nothing(workspace: Workspace) -> None:
    nodes = {node["node"]: node for node in record("train", "up", "--check")["nodes"]}
    assert (nodes["bars"]["shape"], nodes["dense"]["shape"], nodes["out"]["shape"]) == ([20, 8], [16], [1])
    assert nodes["dense"]["parameters"] == (20 * 8 + 20) * 32 + 32 + 32 * 16 + 16
    assert len(list(workspace.path("train", "volume").glob("[0-9]*"))) <= 1


def test_mistakes_are_sentences() -> None:
    for arguments, words in (
        (("train", "nonesuch"), "there|up"),
        (("train", "absent.json"), "absent.json"),
        (("train", "up", "--asset", "nonesuch"), "nonesuch"),
        (("train", "up", "--device", "gpu:99"), "gpu:99"),
        (("runs", "show", "volume"), "PROJECT/NUMBER"),
        (("runs", "resume", "volume/99"), "run 99"),
        (("vault", "show", "nonesuch"), "'nonesuch'"),
    ):
        with pytest.raises(UserError, match=words):
            raise lit(*arguments).exception or AssertionError(arguments)


def test_the_best_epoch_is_kept_with_notes_and_tags_and_seen_from_its_run(workspace: Workspace, kept: str) -> None:
    best = record("runs", "show", "volume/1")["best_epoch"]
    item = record("vault", "add", "volume/1", "--name", "best", "--notes", "good", "--tag", "live", "--tag", "ibm")
    assert (item["epoch"], item["notes"], item["tags"]) == (best, "good", ["live", "ibm"])
    assert [found["name"] for found in record("vault", "list")] == ["best", "first"]
    assert [found["name"] for found in record("vault", "list", "--tag", "ibm")] == ["best"]
    assert lit("vault", "edit", "best", "--notes", "better").exit_code == 0
    changed = vault.load(workspace, "best")
    assert (changed.notes, changed.tags, changed.digest) == ("better", ("live", "ibm"), item["digest"])
    assert "best" in record("runs", "show", "volume/1")["vault"][str(best)]
    shown = record("vault", "show", "best")
    assert shown["lineage"]["asset"]["digest"] == "sha256:train" and shown["features"] == ["bars", "atr"]


def test_items_are_compared_by_metrics_and_by_what_differs(workspace: Workspace, kept: str) -> None:
    vault.add(workspace, "volume", 1, 2, "other")
    path = workspace.path("vault", "other") / "item.json"
    changed = json.loads(path.read_text())
    changed["lineage"]["canvas"]["nodes"][2]["properties"]["layers"] = "8"
    path.write_text(json.dumps(changed))
    rows = record("vault", "compare", "first", "other")
    perf = RunFolder.find(workspace, "volume", 1).perf()
    assert rows["val_loss"] == [perf[0]["val_loss"], perf[1]["val_loss"]]
    assert rows["dense.layers"] == ["32, 16", "8"] and "dense.dropout" not in rows


def test_an_item_in_use_is_not_deleted(workspace: Workspace, kept: str) -> None:
    vault.add(workspace, "volume", 1, 1, "deployed")
    path = workspace.folder("preview") / "morning.json"
    path.write_text(json.dumps({"name": "morning", "output": {"device": "cpu", "models": ["deployed"]}}))
    with pytest.raises(UserError, match="deployment morning"):
        vault.delete(workspace, "deployed")
    path.unlink()
    assert lit("vault", "delete", "deployed", "--yes").exit_code == 0
    with pytest.raises(UserError, match="does not exist"):
        vault.load(workspace, "deployed")


def test_an_export_predicts_the_same_without_lit(workspace: Workspace, kept: str, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    assert lit("vault", "export", "first", str(folder)).exit_code == 0
    with pytest.raises(UserError, match="exists"):
        raise lit("vault", "export", "first", str(folder)).exception or AssertionError
    with Asset(asset_path(workspace, "small", "test")[0]) as asset:
        samples = {name: asset.read(name, 0, 9) for name in ("bars", "atr")}
    np.savez(tmp_path / "samples.npz", **samples)
    without = (
        "import sys, runpy; sys.modules['lit'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], None, '__main__')"
    )
    command = [sys.executable, "-c", without, str(folder / "predict.py"), "samples.npz", "out.npy"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    from lit.serving.predictor import Predictor

    expected = Predictor.open(vault.load(workspace, "first")).predict_many(samples)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5)
    assert "bars | 20 × 8 | open" in (folder / "README.md").read_text()


def test_ctrl_c_stops_the_run_which_can_be_resumed(workspace: Workspace, trained: Result, tmp_path: Path) -> None:
    design = tmp_path / "long.json"
    design.write_text(json.dumps(canvas(epochs=500) | {"settings": {"project": "long", "asset": "small"}}))
    code = "from lit.cli import app; app()"
    command = [sys.executable, "-c", code, "train", str(design), *TEAM]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ)
    perf = workspace.path("train", "long") / "1" / "perf.csv"
    deadline = time.monotonic() + 100
    while not (perf.is_file() and perf.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert RunFolder.find(workspace, "long", 1).status() == "stopped"
    assert "is stopped after" in out and "lit runs resume long/1" in out
