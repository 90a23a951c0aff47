"""A training run as users start it: a process of its own, a folder of files, a model that serves."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from lit.serving.predictor import Predictor
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.asset import Asset, asset_path
from lit.trainer.backend import load
from lit.trainer.experiments import RunSummary, resume, start, stop, train, wait
from lit.trainer.runfolder import RunFolder
from tests.training import canvas, write_asset


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), "contoso")
    write_asset(found)
    return found


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> tuple[RunSummary, list[dict[str, float]]]:
    rows: list[dict[str, float]] = []
    return train(workspace, canvas(), on_epoch=rows.append, description="first"), rows


def test_a_run_learns_and_reports_each_epoch(trained: tuple[RunSummary, list[dict[str, float]]]) -> None:
    summary, rows = trained
    assert (summary.run, summary.status, summary.epochs) == (1, "finished", 4)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert summary.metrics["val_loss"] == min(row["val_loss"] for row in rows)
    assert summary.metrics["val_auc"] > 0.7
    assert summary.metrics["val_brier"] < summary.metrics["val_base_brier"]


def test_the_run_folder_has_the_promised_files(
    workspace: Workspace, trained: tuple[RunSummary, list[dict[str, float]]]
) -> None:
    folder = RunFolder.find(workspace, "volume", 1)
    seen = {path.name for path in folder.path.iterdir() if not path.name.startswith(".")}
    promised = {"definition.json", "description.txt", "features.json", "log.txt", "perf.csv", "session.txt"}
    assert seen == promised | {"saved_models", "calibration.json"}
    bins = folder.read_json("calibration.json")
    assert list(bins) == ["1", "2", "3", "4"] and sum(each["count"] for each in bins["4"]) == 200
    gap = sum(each["count"] * abs(each["prediction"] - each["frequency"]) for each in bins["4"]) / 200
    assert gap == pytest.approx(trained[1][3]["val_calibration_error"])
    models = {f"model.{n}.{suffix}" for n in (1, 2, 3, 4) for suffix in ("h5", "keras")}
    assert {path.name for path in folder.models.iterdir()} == models
    assert folder.perf() == trained[1]
    assert [item["name"] for item in folder.read_json("features.json")["inputs"]] == ["bars", "atr"]


def test_a_vaulted_model_predicts_the_same_bytes_as_the_runs(
    workspace: Workspace, trained: tuple[RunSummary, list[dict[str, float]]]
) -> None:
    _, keras = load()
    item = vault.add(workspace, "volume", 1, trained[0].best_epoch, "best")
    assert vault.load(workspace, "best") == item
    predictor = Predictor.open(item)
    with Asset(asset_path(workspace, "small", "test")[0]) as asset:
        inputs = {name: asset.read(name, 0, 100) for name in item.features}
    one = predictor.predict({name: values[0] for name, values in inputs.items()})
    folder = RunFolder.find(workspace, "volume", 1)
    own = keras.models.load_model(folder.model(item.epoch))
    expected = Predictor(own, item.inputs).predict({name: values[0] for name, values in inputs.items()})
    assert one.tobytes() == expected.tobytes()
    many = predictor.predict_many(inputs)
    assert many.shape == (100, 1)
    np.testing.assert_allclose(many[0], one, rtol=1e-5)
    with pytest.raises(UserError, match="'atr' is missing"):
        predictor.predict({"bars": inputs["bars"][0]})


def test_a_changed_vault_file_is_not_used(
    workspace: Workspace, trained: tuple[RunSummary, list[dict[str, float]]]
) -> None:
    item = vault.add(workspace, "volume", 1, 1, "tampered")
    with item.model.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(FaultError, match="has changed"):
        vault.load(workspace, "tampered")


def test_stopped_and_resumed_equals_never_stopped(
    workspace: Workspace, trained: tuple[RunSummary, list[dict[str, float]]]
) -> None:
    folder = start(workspace, canvas(epochs=400))
    while len(folder.perf()) < 2:
        assert folder.status() in ("queued", "running"), folder.log_tail()
        time.sleep(0.02)
    stop(folder)
    assert wait(folder).status == "stopped"
    done = len(folder.perf())
    resume(folder, epochs=done + 2)
    assert wait(folder).epochs == done + 2
    straight = train(workspace, canvas(epochs=done + 2))

    def measured(run: int) -> list[dict[str, float]]:
        perf = RunFolder.find(workspace, "volume", run).perf()
        return [{key: value for key, value in row.items() if key != "seconds"} for row in perf]

    assert measured(folder.run) == measured(straight.run)
    shared = min(done + 2, 4)
    assert measured(folder.run)[:shared] == measured(1)[:shared]
    last = [RunFolder.find(workspace, "volume", run).model(done + 2) for run in (folder.run, straight.run)]
    assert _weights(last[0]) == _weights(last[1])


def test_canvas_mistakes_name_their_node(workspace: Workspace) -> None:
    bad = json.loads(json.dumps(canvas()))
    bad["nodes"][0]["properties"]["feature"] = "bras"
    with pytest.raises(UserError, match=r"node bars: feature is 'bras'.*bars, up"):
        start(workspace, bad)


def _weights(path: Path) -> dict[str, bytes]:
    import h5py

    found = {}
    with h5py.File(path) as file:
        file["model_weights"].visititems(
            lambda name, item: found.update({name: item[()].tobytes()}) if hasattr(item, "dtype") else None
        )
    return found
