"""Schemas and builds over the API: saved, compared, started, followed, stopped, resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.features.library import save_feature
from lit.processors.delivery import read_partition
from lit.processors.progress import driving
from lit.streams import topics
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES

SCHEMA = {
    "name": "small",
    "paths": [str(SAMPLES / "IBM.N_20131007.csv.gz")],
    "features": ["per_minute", "bars"],
    "split": {"kind": "random", "value": 0.3, "seed": 1},
}


@pytest.fixture
def client(kafka: str, tmp_path: Path) -> Iterator[TestClient]:
    workspace = Workspace(tmp_path, "routes")
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    with open_store(tmp_path, None) as stores:
        services = Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)
        yield TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


def ended(client: TestClient, number: int) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        detail: dict[str, Any] = client.get(f"/api/teams/routes/builds/{number}").json()
        if detail["status"] not in ("starting", "running"):
            return detail
        time.sleep(0.2)
    raise AssertionError(detail)


@pytest.mark.kafka
def test_a_schema_is_checked_saved_copied_compared_and_deleted(client: TestClient) -> None:
    schemas = "/api/teams/routes/schemas"
    wrong = {**SCHEMA, "features": ["per_minute", "nonesuch"], "paths": ["gone.csv.gz"]}
    said = client.post(f"{schemas}/check", json=wrong).json()["problems"]
    assert len(said) == 2 and "'nonesuch'" in said[0] and "'gone.csv.gz'" in said[1]
    assert client.put(f"{schemas}/small", json=wrong).status_code == 400
    assert client.put(f"{schemas}/small", json=SCHEMA).status_code == 200
    assert client.post(f"{schemas}/small/copy", json={"to": "other"}).status_code == 201
    assert client.post(f"{schemas}/small/copy", json={"to": "other"}).status_code == 409
    changed = {**SCHEMA, "name": "other", "features": ["bars"], "resolution": 5}
    assert client.put(f"{schemas}/other", json=changed).status_code == 200
    assert client.get(f"{schemas}/small/diff", params={"other": "other"}).json() == [
        {"field": "features", "before": ["per_minute"], "after": []},
        {"field": "resolution", "before": 1, "after": 5},
    ]
    assert client.delete(f"{schemas}/other").status_code == 204
    assert [schema["name"] for schema in client.get(schemas).json()] == ["small"]
    assert client.get(f"{schemas}/other").status_code == 404


@pytest.mark.kafka
def test_a_build_is_started_followed_and_announced(client: TestClient, kafka: str, tmp_path: Path) -> None:
    builds = "/api/teams/routes/builds"
    assert client.post(builds, json={"schema_name": "small"}).status_code == 404
    client.put("/api/teams/routes/schemas/small", json=SCHEMA)
    started = client.post(builds, json={"schema_name": "small"})
    assert (started.status_code, started.json()["status"]) == (201, "starting")
    first = ended(client, started.json()["build"])
    assert first["status"] == "complete", client.get(f"{builds}/1/log").json()["text"]
    assert first["ticks"] == 24_293 and first["snapshot"]["features"]["bars"]["params"]["count"] == 20
    assert first["progress"]["stage"] == "merge" and first["progress"]["samples"] > 100
    log = client.get(f"{builds}/1/log").json()
    assert "Computed fields: ['per_minute', 'bars']" in log["text"]
    assert client.get(f"{builds}/1/log", params={"after": log["next"]}).json() == {"text": "", "next": log["next"]}
    assert client.post(f"{builds}/1/stop").status_code == client.post(f"{builds}/1/resume", json={}).status_code == 409
    events = [json.loads(value) for value in read_partition(kafka, topics.events("routes").name, 0)]
    own = [event for event in events if (event["kind"], event["name"]) == ("build", "small")]
    assert {event["detail"].get("stage") for event in own[:-1]} >= {"features", "merge"}
    assert own[-1]["status"] == "complete"

    client.put("/api/teams/routes/schemas/small", json={**SCHEMA, "dtype": "float64"})
    second = ended(client, client.post(builds, json={"schema_name": "small"}).json()["build"])
    assert second["status"] == "complete" and [one["build"] for one in client.get(builds).json()] == [2, 1]
    difference = client.get(f"{builds}/diff", params={"before": 1, "after": 2}).json()
    assert difference == [{"field": "dtype", "before": "float32", "after": "float64"}]
    assert client.get(f"{builds}/3").status_code == 404

    (kept,) = client.get(f"{builds}/kept").json()
    assert kept["schema_name"] == "small" and kept["bytes"] > 10_000
    with driving(Workspace(tmp_path, "routes").path("build", "small"), "it"):
        assert client.delete(f"{builds}/kept/small").status_code == 409
    assert client.delete(f"{builds}/kept/small").json() == kept
    assert client.get(f"{builds}/kept").json() == [] and client.delete(f"{builds}/kept/small").status_code == 404
