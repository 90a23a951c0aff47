"""Files over HTTP: listed with what is in them, cached, stopped, deleted under guard; projects beside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.processors.drain import drain
from lit.streams import topics
from lit.streams.cache import await_cached, cache_file
from lit.streams.raw_files import raw_root
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks
from tests.test_adapter_check import code
from tests.test_caching import ticks_in

IBM, BAC = "IBM.N_20131007.csv.gz", "BAC.N_20131007.csv.gz"
TEAM = "filesapi"
URL = f"/api/teams/{TEAM}"


@pytest.fixture(scope="module")
def services(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    data = tmp_path_factory.mktemp("data")
    with open_store(data, None) as stores:
        yield Services(ApiConfig(data, kafka, data / "static"), stores)


@pytest.fixture
def client(services: Services) -> TestClient:
    raw = Workspace(services.data, TEAM).folder("raw")
    shutil.rmtree(raw)
    (raw / "sub").mkdir(parents=True)
    shutil.copy(SAMPLES / IBM, raw)
    shutil.copy(SAMPLES / BAC, raw / "sub")
    return TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


def caching_jobs(services: Services) -> list[str]:
    return [spec.argv[-1] for spec in desired_workers(services) if spec.role == "cache"]


@pytest.mark.kafka
def test_files_copied_by_hand_are_listed_and_cached_a_few_at_once(client: TestClient, services: Services) -> None:
    shown = {file["path"]: file for file in client.get(f"{URL}/files").json()}
    assert set(shown) == {IBM, f"sub/{BAC}"} and {file["state"] for file in shown.values()} == {"new"}
    assert caching_jobs(services) == []
    digest = client.get(f"{URL}/files/digest", params={"path": IBM}).json()
    assert digest["sha256"] == hashlib.sha256((SAMPLES / IBM).read_bytes()).hexdigest()
    third = raw_root(Workspace(services.data, TEAM)) / "third.csv.gz"
    shutil.copy(SAMPLES / BAC, third)
    reply = client.post(f"{URL}/files/cache", json={"paths": [IBM, f"sub/{BAC}", "third.csv.gz"]})
    assert reply.status_code == 202 and [file["state"] for file in reply.json()] == ["waiting"] * 3
    assert len(caching_jobs(services)) == 2  # the third waits for one of them
    reply = client.post(f"{URL}/files/stop", json={"paths": [IBM]})
    assert reply.json()[0]["state"] == "stopped"
    assert len(caching_jobs(services)) == 2


@pytest.mark.kafka
def test_a_file_sent_by_somebody_else_is_shown_as_cached_once_the_store_has_it(
    client: TestClient, services: Services
) -> None:
    workspace = Workspace(services.data, TEAM)
    path, bootstrap = raw_root(workspace) / IBM, services.config.bootstrap
    topic = topics.ticks(TEAM, "refinitiv")
    topics.create_topics(bootstrap, topic)
    entry = cache_file(workspace, "refinitiv", path, bootstrap, topic.name)
    assert client.get(f"{URL}/files/info", params={"path": IBM}).json()["state"] == "sent"
    store = services.stores.team(TEAM)
    count = len(real_ticks("IBM.N", 1))
    assert drain(bootstrap, topic.name, "refinitiv", store) == count
    assert drain(bootstrap, topic.name, "refinitiv", store) == 0
    shown = {file["path"]: file for file in client.get(f"{URL}/files").json()}
    assert shown[IBM]["state"] == "cached" and shown[IBM]["cached"]
    assert shown[IBM]["symbols"] == {"IBM.N": count} and shown[IBM]["last"].startswith("2013-10-07T23:26:07")
    block = store.window("refinitiv", "IBM.N", 0, count, origin=entry.origin)
    assert block.price.tobytes() == real_ticks("IBM.N", 1).price.tobytes()

    (workspace.folder("projects") / "mine.json").write_text(json.dumps({"paths": [IBM]}))
    reply = client.delete(f"{URL}/files", params={"path": IBM})
    assert reply.status_code == 409 and "project mine" in reply.json()["detail"]
    assert client.delete(f"{URL}/projects/mine").status_code == 204
    assert client.delete(f"{URL}/files", params={"path": IBM}).status_code == 204
    assert not path.exists() and store.count("refinitiv", entry.origin) == 0
    assert IBM not in {file["path"] for file in client.get(f"{URL}/files").json()}
    # the same file again: its ticks are sent anew, for the sink is past those that the topic still holds
    shutil.copy(SAMPLES / IBM, path)
    again = cache_file(workspace, "refinitiv", path, bootstrap, topic.name)
    drain(bootstrap, topic.name, "refinitiv", store)
    assert await_cached(workspace, again, store, seconds=5).cached
    assert ticks_in(bootstrap, topic.name) == 2 * count == 2 * store.count("refinitiv", again.origin)


@pytest.mark.kafka
def test_refused_rows_are_shown_with_line_and_reason(client: TestClient, services: Services) -> None:
    workspace = Workspace(services.data, TEAM)
    path = raw_root(workspace) / "dirty.csv"
    path.write_text(
        "#RIC,Type,Price,Volume,Date-Time\nX.N,Trade,1,1,2024-01-02T15:00:00Z\nX.N,Trade,x,1,2024-01-02T15:00:00Z\n"
    )
    topic = topics.ticks(TEAM, "refinitiv")
    topics.create_topics(services.config.bootstrap, topic)
    cache_file(workspace, "refinitiv", path, services.config.bootstrap, topic.name)
    rows = client.get(f"{URL}/files/refused", params={"path": "dirty.csv"}).json()
    assert rows == [{"line": 3, "reason": "Price is not a number", "row": "X.N,Trade,x,1,2024-01-02T15:00:00Z"}]
    assert client.get(f"{URL}/files/refused", params={"path": IBM}).json() == []


@pytest.mark.kafka
@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", ".cached.json", "none.csv", "sub"])
def test_only_files_within_raw_are_reached(client: TestClient, path: str) -> None:
    for reply in (
        client.post(f"{URL}/files/cache", json={"paths": [path]}),
        client.post(f"{URL}/files/stop", json={"paths": [path]}),
        client.get(f"{URL}/files/info", params={"path": path}),
        client.get(f"{URL}/files/refused", params={"path": path}),
        client.get(f"{URL}/files/digest", params={"path": path}),
        client.delete(f"{URL}/files", params={"path": path}),
    ):
        assert reply.status_code in (400, 404), reply.text


@pytest.mark.kafka
def test_mistakes_of_a_caching_are_told_before_it_begins(client: TestClient, services: Services) -> None:
    for body, words in (
        ({"paths": [IBM], "adapter": "nonesuch"}, "nonesuch"),
        ({"paths": [IBM], "adapter": "csv", "parameters": {"tiem": "t"}}, "'tiem'"),
        ({"paths": [IBM], "adapter": "csv", "parameters": {"header": "yes"}}, "'header'"),
        ({"paths": []}, "paths"),
    ):
        reply = client.post(f"{URL}/files/cache", json=body)
        assert reply.status_code in (400, 422) and words in reply.json()["detail"]
    assert caching_jobs(services) == []


@pytest.mark.kafka
def test_projects_are_made_changed_and_deleted(client: TestClient, services: Services) -> None:
    body = {"paths": [IBM], "features": ["sma"], "adapter": "csv", "parameters": {"time": "Date-Time"}}
    assert client.put(f"{URL}/projects/volatility", json=body).status_code == 200
    written = json.loads((services.data / TEAM / "projects" / "volatility.json").read_text())
    assert {name: written[name] for name in body} == body
    (listed,) = client.get(f"{URL}/projects").json()
    assert listed["name"] == "volatility" and listed["paths"] == [IBM]
    assert client.get(f"{URL}/projects/volatility").json()["parameters"] == {"time": "Date-Time"}
    for wrong, words in (
        ({**body, "extra": 1}, "extra"),
        ({**body, "paths": [IBM, IBM]}, "twice"),
        ({**body, "adapter": "../x"}, "not usable"),
        ({**body, "adapter": "nonesuch"}, "nonesuch"),
        ({**body, "parameters": {"tiem": "x"}}, "'tiem'"),
        ({**body, "paths": ["none.csv"]}, "none.csv"),
    ):
        reply = client.put(f"{URL}/projects/volatility", json=wrong)
        assert reply.status_code in (400, 404, 422) and words in reply.json()["detail"], reply.text
    assert client.get(f"{URL}/projects/volatility").json()["features"] == ["sma"]
    (services.data / TEAM / "projects" / "broken.json").write_text("{")
    assert [project["name"] for project in client.get(f"{URL}/projects").json()] == ["volatility"]
    assert client.get(f"{URL}/projects/broken").status_code == 400
    assert client.delete(f"{URL}/projects/volatility").status_code == 204
    assert client.delete(f"{URL}/projects/volatility").status_code == 404


@pytest.mark.kafka
def test_adapters_are_edited_and_tried_over_http(client: TestClient, services: Services) -> None:
    base = f"{URL}/adapters"
    (services.data / TEAM / "raw" / "tape.csv").write_text(code("csv"))
    assert {info["name"] for info in client.get(base).json()} >= {"csv", "lean"}
    assert client.get(f"{base}/vendor").status_code == 404
    assert client.put(f"{base}/vendor", json={"source": "def read(rows:"}).status_code == 400
    made = client.put(f"{base}/vendor", json={"source": code("python")})
    assert made.json()["origin"] == "own"
    assert made.json()["parameters"][0] == {
        "name": "time_zone", "kind": "text", "default": "America/Chicago", "help": "Whose wall clock shows the times.",
    }  # fmt: skip
    order = {"path": "tape.csv", "parameters": {"time_zone": "UTC"}}
    found = client.post(f"{base}/vendor/check", json=order).json()
    assert (found["ticks"], found["first"]) == (2, "2023-10-02T08:30:00.125Z")
    for wrong, code_wanted, words in (
        ({"path": "../x"}, 400, "not usable"),
        ({"path": "none.csv"}, 404, "none.csv"),
        ({"path": "tape.csv", "parameters": {"zone": "UTC"}}, 400, "'zone'"),
        ({"path": "tape.csv", "parameters": {"time_zone": "Mars"}}, 400, "Mars"),
    ):
        reply = client.post(f"{base}/vendor/check", json=wrong)
        assert reply.status_code == code_wanted and words in reply.json()["detail"], reply.text
    assert client.delete(f"{base}/vendor").status_code == 204
    assert client.delete(f"{base}/vendor").status_code == 404
