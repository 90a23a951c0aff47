"""Assets over the API: listed, audited, sampled, promoted by those who may, downloaded in ranges."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.features.dataset import DatasetAdapter
from lit.streams.store_open import open_store
from lit.streams.tick import iso
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset
from tests.test_assets_cli import snapshot
from tests.test_promotions import build

ASSETS = "/api/teams/demo/assets"

pytestmark = pytest.mark.kafka


@pytest.fixture
def services(kafka: str, tmp_path: Path) -> Iterator[Services]:
    with open_store(tmp_path, None) as stores:
        yield Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)


@pytest.fixture
def client(services: Services, workspace: Workspace) -> TestClient:
    build(workspace)
    return TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


def audited(client: TestClient, path: str) -> Any:
    deadline = time.monotonic() + 120
    while (reply := client.get(path)).status_code == 202 and time.monotonic() < deadline:
        assert reply.json()["done"] <= reply.json()["total"]
        time.sleep(0.2)
    return reply


def test_an_asset_is_shown_audited_promoted_and_demoted(client: TestClient, workspace: Workspace) -> None:
    (listed,) = client.get(ASSETS).json()["assets"]
    assert (listed["schema"], listed["state"], listed["queue"]["samples"]) == (
        "small",
        "queued",
        {"train": 60, "test": 20},
    )
    first = client.get(f"{ASSETS}/small/audit")
    assert first.status_code == 202, first.text
    audit = audited(client, f"{ASSETS}/small/audit").json()
    assert [feature["name"] for feature in audit["features"]] == ["atr", "bars", "up"]
    assert client.get(ASSETS).json()["assets"][0]["queue"]["audited"]

    record = client.post(f"{ASSETS}/small/promote", json={"note": "looks well"}).json()
    assert (record["action"], record["note"], record["by"]) == ("promote", "looks well", "admin")
    assert client.get(f"{ASSETS}/small/audit").status_code == 200  # it moved along
    again = client.post(f"{ASSETS}/small/promote")
    assert again.status_code == 409 and "nothing in its queue" in again.json()["detail"]
    detail = client.get(f"{ASSETS}/small").json()
    assert detail["status"]["state"] == "promoted" and detail["history"] == [record]
    assert detail["features"][0] == {"name": "atr", "shape": [20, 1], "columns": ["atr"]}
    assert detail["schema"]["build"] == 1 and detail["digest"] == record["digests"]["train"]
    assert client.get(f"{ASSETS}/small?version=queue").status_code == 404
    assert client.post(f"{ASSETS}/small/demote").json()["action"] == "demote"
    verified = client.post(f"{ASSETS}/small/verify").json()["parts"]
    assert [(part["part"], part["intact"]) for part in verified] == [("train", True), ("test", True)]
    for path in ("nonesuch", "nonesuch/audit", "..%2fsecrets"):
        assert client.get(f"{ASSETS}/{path}").status_code == 404


def test_viewers_look_and_editors_promote(client: TestClient, services: Services) -> None:
    def as_(name: str, role: str) -> TestClient:
        token = services.keys.create(name, role, ["demo"])[1]
        return TestClient(client.app, headers={"Authorization": f"Bearer {token}"})

    viewer = as_("looker", "viewer")
    assert viewer.get(f"{ASSETS}/small").status_code == 200
    for action in ("promote", "demote"):
        assert viewer.post(f"{ASSETS}/small/{action}").status_code == 403
    assert viewer.get("/api/teams/other/assets").status_code == 403
    assert as_("Ann", "editor").post(f"{ASSETS}/small/promote").json()["by"] == "Ann"


def test_samples_come_as_tables_and_as_arrow(
    client: TestClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Asset(workspace.path("assets", "small", "queue") / "train.h5") as part:
        bars, atr = part.read("bars"), part.read("atr")
    one = client.get(f"{ASSETS}/small/sample?number=7").json()
    assert one["features"]["bars"]["rows"] == bars[7].tolist() and one["symbol"] == "IBM" and one["packet_error"]
    drawn = [client.get(f"{ASSETS}/small/sample?seed={seed}&packet=false").json()["number"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert client.get(f"{ASSETS}/small/sample").status_code == 400
    assert "has no sample 60" in client.get(f"{ASSETS}/small/sample?number=60").json()["detail"]
    some = client.get(f"{ASSETS}/small/samples?start=58&count=10").json()
    assert some["total"] == 60 and [item["number"] for item in some["samples"]] == [58, 59]
    monkeypatch.setattr("lit.api.routes.assets.MAX_JSON", 181)
    assert client.get(f"{ASSETS}/small/samples?count=1").status_code == 200
    assert "362 numbers" in client.get(f"{ASSETS}/small/samples?count=2").json()["detail"]
    reply = client.get(f"{ASSETS}/small/samples?count=1000", headers={"accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(reply.content).read_all()
    assert table.num_rows == 60 and table["symbol"].to_pylist() == ["IBM"] * 60
    assert table.schema.field("bars").metadata[b"columns"].startswith(b'["open"')
    np.testing.assert_array_equal(np.array(table["bars"].to_pylist(), np.float32), bars)
    np.testing.assert_array_equal(np.array(table["atr"].to_pylist(), np.float32), atr)


def test_a_sample_comes_with_the_tick_that_it_was_made_at(client: TestClient, workspace: Workspace) -> None:
    frozen, held = snapshot(workspace, origins=True)
    adapter = DatasetAdapter.of_blocks(held)
    rows = [7, len(adapter) - 1]
    queue = workspace.folder("assets", "real", "queue")
    for part in ("train", "test"):
        with h5py.File(queue / f"{part}.h5", "w") as file:
            file["x"], file["index"] = np.zeros((2, 1)), rows
            file["timestamp"] = [adapter[row]["timestamp"] for row in rows]
            file.create_dataset("symbol", data=[adapter[row]["symbol"] for row in rows], dtype=h5py.string_dtype())
            file.attrs["schema"] = json.dumps(frozen)
    for number, row in enumerate(rows):
        found = client.get(f"{ASSETS}/real/sample?number={number}&part=test").json()
        tick = adapter[row]
        assert found["packet"] == {**tick, "timestamp": iso(tick["timestamp"])} and not found["packet_error"]
        assert found["timestamp"] == iso(tick["timestamp"])


def test_a_file_is_downloaded_whole_and_in_ranges(client: TestClient, workspace: Workspace) -> None:
    content = (workspace.path("assets", "small", "queue") / "test.h5").read_bytes()
    whole = client.get(f"{ASSETS}/small/files/test")
    assert whole.content == content and "small%20test.h5" in whole.headers["content-disposition"]
    with h5py.File(io.BytesIO(whole.content)) as file:
        assert len(file["up"]) == 20
    part = client.get(f"{ASSETS}/small/files/test", headers={"range": "bytes=100-299"})
    assert part.status_code == 206 and part.content == content[100:300]
    assert part.headers["content-range"] == f"bytes 100-299/{len(content)}"
    rest = client.get(f"{ASSETS}/small/files/test", headers={"range": "bytes=100-", "if-range": whole.headers["etag"]})
    assert rest.status_code == 206 and content[:100] + rest.content == content
    build(workspace, 90, 2)  # another version: no range of it is taken for one of the old
    rest = client.get(f"{ASSETS}/small/files/test", headers={"range": "bytes=100-", "if-range": whole.headers["etag"]})
    assert rest.status_code == 200 and len(rest.content) != len(content)


def test_a_damaged_or_foreign_file_is_said_and_harms_nothing(client: TestClient, workspace: Workspace) -> None:
    queue = workspace.path("assets", "small", "queue")
    with h5py.File(queue / "train.h5", "r+") as file:
        file["out"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert "refused" in client.get(ASSETS).json()["assets"][0]["queue"]["error"]
    for path in ("small", "small/sample?number=0", "small/files/train"):
        reply = client.get(f"{ASSETS}/{path}")
        assert reply.status_code == 400 and "is a link" in reply.json()["detail"]
    reply = audited(client, f"{ASSETS}/small/audit")
    assert reply.status_code == 503 and "is a link" in reply.json()["detail"]
    assert client.post(f"{ASSETS}/small/promote").status_code == 409
    (queue / "train.h5").write_bytes(b"torn")
    assert client.get(f"{ASSETS}/small").status_code == 503
