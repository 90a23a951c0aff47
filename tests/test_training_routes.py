"""Trainings over HTTP: designs checked, runs launched and steered, epochs kept; the server never loads TensorFlow."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from lit.trainer.runfolder import RunFolder
from tests.training import canvas, write_asset

TEAM = "/api/teams/contoso"


@pytest.fixture(scope="module")
def client(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("data")
    write_asset(Workspace(root, "contoso"))
    with open_store(root, None) as stores:
        services = Services(ApiConfig(root, kafka, root / "static"), stores)
        headers = {"Authorization": f"Bearer {services.keys.admin_token}"}
        with TestClient(create_app(services), headers=headers) as found:
            found.data = root  # type: ignore[attr-defined]
            yield found


@pytest.fixture(scope="module")
def finished(client: TestClient) -> dict[str, Any]:
    """A run of two epochs, launched with a canvas as it is."""
    assert client.put(f"{TEAM}/canvases/up", json=canvas(epochs=2)).status_code == 200
    reply = client.post(f"{TEAM}/runs", json={"canvas": "up", "description": "first"})
    assert reply.status_code == 201, reply.text
    return ended(client, reply.json()["run"])


def ended(client: TestClient, run: int) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (found := client.get(f"{TEAM}/runs/volume/{run}").json())["status"] in ("queued", "running"):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


@pytest.mark.kafka
def test_a_canvas_is_saved_checked_and_written_as_a_program(client: TestClient) -> None:
    design = canvas()
    assert client.put(f"{TEAM}/canvases/up", json=design).json()["nodes"][2]["properties"]["layers"] == "32, 16"
    assert client.put(f"{TEAM}/canvases/down", json=design).status_code == 400
    listed = client.get(f"{TEAM}/canvases").json()
    assert listed == [{"name": "up", "project": "volume", "asset": "small", "nodes": 5, "error": ""}]
    report = client.get(f"{TEAM}/canvases/up/check").json()
    assert report["problems"] == [] and (report["task"], report["loss"]) == ("binary", "binary_crossentropy")
    assert {node["node"]: node["shape"] for node in report["nodes"]}["dense"] == [16]
    assert report["parameters"] == sum(node["parameters"] for node in report["nodes"])
    assert "keras.Model(" in client.get(f"{TEAM}/canvases/up/script").text
    assert client.get(f"{TEAM}/canvases/gone").status_code == 404
    client.put(f"{TEAM}/canvases/short", json={"name": "short"})
    assert client.delete(f"{TEAM}/canvases/short").status_code == 204
    assert client.delete(f"{TEAM}/canvases/short").status_code == 404


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("node", "properties", "said"),
    [
        (0, {"feature": "bras"}, ("bars", "feature is 'bras'")),  # from the form alone
        (3, {"feature": "up", "activation": "softmax", "classes": 1}, ("out", "numbers 0 to 0")),  # label and output
        (3, {"feature": "atr"}, ("out", "wants 0 to 1")),  # label and loss
        (4, {"loss": "categorical_crossentropy"}, ("out", "does not go with activation sigmoid")),
        (2, {"layers": "-3"}, ("dense", "-3")),  # Keras' own complaint
    ],
)
def test_each_problem_names_its_node(client: TestClient, node: int, properties: dict[str, Any], said: Any) -> None:
    design = canvas()
    design["nodes"][node]["properties"] = properties
    problems = client.post(f"{TEAM}/canvases/check", json=design).json()["problems"]
    assert any(said[0] == item["node"] and said[1] in item["message"] for item in problems), problems


@pytest.mark.kafka
def test_a_component_that_ends_python_ends_no_server(client: TestClient) -> None:
    source = '"""Ends."""\nimport os\n\n\ndef make_component(name, inputs):\n    os._exit(1)\n'
    assert client.put(f"{TEAM}/components/Ends", json={"source": source}).json()["error"] == ""
    design = canvas()
    design["nodes"].append({"id": "end", "component": "Ends"})
    design["edges"][2:] = [{"source": "dense", "target": "end"}, {"source": "end", "target": "out"}]
    reply = client.post(f"{TEAM}/canvases/check", json=design)
    assert reply.status_code == 400 and "ended its process" in reply.json()["detail"]
    assert client.delete(f"{TEAM}/components/Ends").status_code == 204


@pytest.mark.kafka
def test_components_are_forms_and_a_deleted_copy_is_as_shipped_again(client: TestClient) -> None:
    forms = {item["name"]: item for item in client.get(f"{TEAM}/components").json()}
    layers = next(item for item in forms["Dense"]["properties"] if item["name"] == "layers")
    assert (layers["kind"], layers["default"], forms["Dense"]["source"]) == ("ints", [64], None)
    shipped = client.get(f"{TEAM}/components/Dense").json()["source"]
    broken = client.put(f"{TEAM}/components/Dense", json={"source": "def make_component(:"}).json()
    assert "line 1 is not Python" in broken["error"] and broken["shipped"]
    assert client.delete(f"{TEAM}/components/Dense").status_code == 204
    assert client.get(f"{TEAM}/components/Dense").json()["source"] == shipped
    assert client.get(f"{TEAM}/components/Nothing").status_code == 404


@pytest.mark.kafka
def test_a_run_is_launched_and_told_of(client: TestClient, finished: dict[str, Any]) -> None:
    assert (finished["status"], finished["epochs"], finished["description"]) == ("finished", 2, "first")
    assert finished["definition"]["canvas"]["name"] == "up" and finished["models"] == [1, 2]
    perf = client.get(f"{TEAM}/runs/volume/{finished['run']}/perf").json()
    assert [row["epoch"] for row in perf] == [1, 2] and "val_brier" in perf[0]
    bins = client.get(f"{TEAM}/runs/volume/{finished['run']}/calibration").json()
    assert list(bins) == ["1", "2"] and sum(each["count"] for each in bins["2"]) == 200
    lines = client.get(f"{TEAM}/runs/volume/{finished['run']}/log", params={"lines": 2}).json()["lines"]
    assert len(lines) == 2 and lines[1].endswith("finished")
    assert finished["run"] in [run["run"] for run in client.get(f"{TEAM}/runs", params={"project": "volume"}).json()]
    assert client.get(f"{TEAM}/runs/volume/99").status_code == 404
    assert client.post(f"{TEAM}/runs/volume/{finished['run']}/stop").status_code == 409
    assert client.post(f"{TEAM}/runs", json={"canvas": "up", "device": "gpu:77"}).status_code == 400


@pytest.mark.kafka
def test_a_run_is_paused_and_continued_for_more_epochs(client: TestClient, finished: dict[str, Any]) -> None:
    run = client.post(f"{TEAM}/runs", json={"canvas": canvas(epochs=900)}).json()["run"]
    path = f"{TEAM}/runs/volume/{run}"
    deadline = time.monotonic() + 60
    while not client.get(f"{path}/perf").json():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    device = client.get(f"{TEAM}/devices").json()[0]
    assert device["name"] == "cpu" and device["queue"] == [f"volume/{run}"]
    assert client.post(f"{path}/resume", json={}).status_code == 409
    assert client.post(f"{path}/pause").status_code == 202
    assert ended(client, run)["status"] == "paused"
    epochs = client.get(path).json()["epochs"] + 1
    assert client.post(f"{path}/resume", json={"epochs": epochs}).status_code == 202
    found = ended(client, run)
    assert (found["status"], found["epochs"]) == ("finished", epochs)


@pytest.mark.kafka
def test_a_sweep_is_started_told_of_and_stopped(client: TestClient, finished: dict[str, Any]) -> None:
    body = {"canvas": canvas(epochs=900), "name": "search", "space": {"dense.dropout": "0..0.5"}, "trials": 2}
    assert client.post(f"{TEAM}/sweeps", json={**body, "space": {"dense.layers": "1..2"}}).status_code == 400
    assert client.post(f"{TEAM}/sweeps", json=body).status_code == 201
    assert client.post(f"{TEAM}/sweeps", json=body).status_code == 409
    deadline = time.monotonic() + 60
    while not (trials := client.get(f"{TEAM}/sweeps/search").json()["all_trials"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.get(f"{TEAM}/runs/volume/{trials[0]['run']}").json()["sweep"] == "search"
    assert client.post(f"{TEAM}/sweeps/search/resume", json={}).status_code == 409
    assert client.post(f"{TEAM}/sweeps/search/stop").status_code == 202
    assert ended(client, trials[0]["run"])["status"] == "stopped"
    while (found := client.get(f"{TEAM}/sweeps").json()[0])["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (found["status"], found["done"], found["best"]) == ("stopped", 0, None)
    assert client.get(f"{TEAM}/sweeps/gone").status_code == 404
    assert client.get(f"{TEAM}/sweeps/search/log").json()["lines"][-1].endswith("stopped")


@pytest.mark.kafka
def test_an_epoch_is_kept_annotated_compared_exported_and_guarded(client: TestClient, finished: dict[str, Any]) -> None:
    keep = {"project": "volume", "run": finished["run"], "name": "kept", "notes": "good", "tags": ["live"]}
    item = client.post(f"{TEAM}/vault", json=keep)
    assert item.status_code == 201 and item.json()["lineage"]["asset"]["digest"] == "sha256:train"
    assert client.post(f"{TEAM}/vault", json=keep).status_code == 409
    client.post(f"{TEAM}/vault", json={**keep, "name": "other", "epoch": 1, "tags": []})
    assert [found["name"] for found in client.get(f"{TEAM}/vault", params={"tag": "live"}).json()] == ["kept"]
    assert client.patch(f"{TEAM}/vault/kept", json={"notes": "better"}).json()["notes"] == "better"
    rows = client.get(f"{TEAM}/vault/kept/compare", params={"with": "other"}).json()["rows"]
    assert len(rows["val_loss"]) == 2
    seen = client.get(f"{TEAM}/runs/volume/{finished['run']}").json()["vault"]
    assert "other" in seen["1"]
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"{TEAM}/vault/kept/export").content))
    assert {"kept/model.h5", "kept/model.keras", "kept/predict.py"} <= set(archive.namelist())
    preview = Workspace(client.data, "contoso").folder("preview") / "morning.json"  # type: ignore[attr-defined]
    preview.write_text('{"name": "morning", "stream": "s", "output": {"device": "cpu", "models": ["kept"]}}')
    refused = client.delete(f"{TEAM}/vault/kept")
    assert refused.status_code == 409 and "morning" in refused.json()["detail"]
    preview.unlink()
    assert client.delete(f"{TEAM}/vault/kept").status_code == 204
    assert client.get(f"{TEAM}/vault/kept").status_code == 404


@pytest.mark.kafka
def test_a_run_outlives_the_server_that_started_it(kafka: str, tmp_path: Path) -> None:
    """The server is a process of its own here, which also shows that it loads neither TensorFlow nor Keras."""
    write_asset(Workspace(tmp_path, "contoso"))
    code = f"""
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.streams.store_open import open_store
from tests.training import canvas
with open_store(Path({str(tmp_path)!r}), None) as stores:
    services = Services(ApiConfig(Path({str(tmp_path)!r}), {kafka!r}), stores)
    client = TestClient(create_app(services), headers={{"Authorization": f"Bearer {{services.keys.admin_token}}"}})
    with client:
        assert client.post("{TEAM}/canvases/check", json=canvas()).json()["parameters"] > 0
        assert client.post("{TEAM}/runs", json={{"canvas": canvas(epochs=2)}}).status_code == 201
    print({{"tensorflow", "keras", "optuna", "tf2onnx"}} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
    folder = RunFolder.find(Workspace(tmp_path, "contoso"), "volume", 1)
    deadline = time.monotonic() + 60
    while folder.status() != "finished":
        assert folder.status() in ("queued", "running") and time.monotonic() < deadline, folder.log_tail()
        time.sleep(0.1)
