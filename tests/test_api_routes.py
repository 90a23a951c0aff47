"""Routes of the server itself: login, status, streams and deployments as files, documents."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIWebSocketRoute
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lit.api.app import create_app
from lit.api.auth.access import walk
from lit.api.auth.session import COOKIE
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.streams import topics
from lit.streams.store_open import open_store
from tests.training import add_item

STREAM = {"adapter": {"name": "restapi"}, "parameters": {"port": 12345, "api_keys": []}, "intervals": ["5min"]}
DEPLOYMENT = {
    "name": "first",
    "output": {"device": "CPU", "models": ["initial"]},
    "stream": "feed",
    "parameters": {"ticker": None, "interval": "15 seconds"},
}


@pytest.fixture
def services(kafka: str, tmp_path: Path) -> Iterator[Services]:
    with open_store(tmp_path, None) as stores:
        yield Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)


@pytest.fixture
def client(services: Services) -> TestClient:
    return TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


def settled(client: TestClient, path: str, expected: str, headers: dict[str, str] | None = None) -> Any:
    """Ask until a topic that was just made is known; in its first moments it has no leader, and the server says so."""
    deadline = time.monotonic() + 30
    while expected not in (reply := client.get(path, headers=headers)).text and time.monotonic() < deadline:
        time.sleep(0.1)
    return reply.json()


@pytest.mark.kafka
def test_only_health_login_logout_and_the_page_answer_strangers(services: Services) -> None:
    app = create_app(services)
    stranger = TestClient(app)
    closed = 0
    for route in walk(app.routes):
        path = route.path.replace("{path:path}", "anything")  # type: ignore[attr-defined]
        if isinstance(route, APIWebSocketRoute):
            with pytest.raises(WebSocketDisconnect) as refused, stranger.websocket_connect(path + "?symbol=A"):
                pass
            assert refused.value.code == 1008
            continue
        for method in route.methods:  # type: ignore[attr-defined]
            reply = stranger.request(
                method, path.replace("{team}", "a").replace("{name}", "b").replace("{stream}", "c")
            )
            if path in ("/api/health", "/api/login", "/api/logout", "/anything"):
                assert reply.status_code != 403
            else:
                assert reply.status_code == 401, path
                closed += 1
    assert closed >= 15


@pytest.mark.kafka
def test_a_token_becomes_a_session_that_ends_with_logout(services: Services) -> None:
    browser = TestClient(create_app(services), headers={"Origin": "http://testserver"})
    assert browser.post("/api/login", json={"token": "wrong"}).status_code == 401
    reply = browser.post("/api/login", json={"token": services.keys.admin_token})
    assert reply.json() == {"key": "admin", "role": "admin", "teams": None}
    cookie = reply.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE) and "httponly" in cookie and "samesite=strict" in cookie
    assert browser.get("/api/me").json()["role"] == "admin"
    assert browser.post("/api/logout").status_code == 204
    assert browser.get("/api/me").status_code == 401


@pytest.mark.kafka
def test_streams_and_deployments_are_files_of_the_team(client: TestClient, services: Services, tmp_path: Path) -> None:
    reply = client.put("/api/teams/files/streams/feed", json=STREAM)
    assert reply.status_code == 200, reply.text
    assert json.loads((tmp_path / "files/streams/feed.json").read_text()) == STREAM
    add_item(services.workspace("files"), "initial")
    reply = client.put("/api/teams/files/deployments/first", json=DEPLOYMENT)
    assert reply.status_code == 200, reply.text
    written = json.loads((tmp_path / "files/preview/first.json").read_text())
    assert written.pop("output") == {"device": "CPU", "models": ["initial"], "shadow": []}
    assert written == {"name": "first", "stream": "feed", "alerts": {}} | {
        "parameters": {"ticker": None, "interval": "15second"}
    }
    for kind, name in (("streams", "feed"), ("deployments", "first")):  # what is read may be written
        found = client.get(f"/api/teams/files/{kind}/{name}").json()
        assert client.put(f"/api/teams/files/{kind}/{name}", json=found["file"]).json()["name"] == name
        assert client.get(f"/api/teams/files/{kind}/{name}").json() == found

    (stream,) = client.get("/api/teams/files/streams").json()
    assert stream["adapter"] == "restapi" and stream["parameters"]["port"] == 12345
    assert stream["intervals"] == ["15second", "1minute", "5minute"] and stream["symbols"] == []
    (deployment,) = client.get("/api/teams/files/deployments").json()
    assert deployment["models"] == ["initial"] and deployment["status"] == "stopped"
    assert "files" in client.get("/api/teams").json()

    assert client.delete("/api/teams/files/streams/feed").status_code == 409
    assert client.delete("/api/teams/files/deployments/first").status_code == 204
    assert client.delete("/api/teams/files/streams/feed").status_code == 204
    assert client.delete("/api/teams/files/streams/feed").status_code == 404


@pytest.mark.kafka
def test_mistakes_are_told_in_a_sentence_and_leave_no_file(client: TestClient, tmp_path: Path) -> None:
    client.put("/api/teams/files/streams/feed", json=STREAM)
    wrong = [
        ("streams/..%2Fout", STREAM, 404, ""),
        ("streams/.hidden", STREAM, 400, "'.hidden'"),
        ("streams/x", {**STREAM, "extra": 1}, 422, "extra"),
        ("streams/x", {"adapter": {"name": "a/b"}}, 400, "'a/b'"),
        ("streams/x", {**STREAM, "intervals": ["1fortnight"]}, 400, "'fortnight'"),
        ("deployments/second", DEPLOYMENT, 400, "'first'"),
        ("deployments/first", {**DEPLOYMENT, "stream": "none"}, 404, "'none'"),
        ("deployments/first", {**DEPLOYMENT, "parameters": {"interval": "soon"}}, 400, "'soon'"),
        ("deployments/first", {**DEPLOYMENT, "output": {"models": ["m", "m"]}}, 400, "'m' twice"),
        ("deployments/first", {**DEPLOYMENT, "alerts": {"drifts": 0.25}}, 400, "drifts"),
    ]
    for path, body, code, words in wrong:
        reply = client.put(f"/api/teams/files/{path}", json=body)
        assert reply.status_code in (code, 405 if code == 404 and not words else code), (path, reply.text)
        assert words in reply.json()["detail"]
    assert [p.name for p in tmp_path.rglob("*.json") if p.parent.name in ("streams", "preview")] == ["feed.json"]
    assert client.get("/api/teams/nobody/streams").status_code == 404
    assert client.post("/api/teams/files/deployments/none/restart").status_code == 404


@pytest.mark.kafka
def test_a_topic_without_a_file_is_a_stream_too(client: TestClient, kafka: str) -> None:
    topics.create_topics(kafka, topics.ticks("byhand", "tape"), topics.bars("byhand", "tape", "1hour"))
    assert "byhand" in settled(client, "/api/teams", "byhand")
    (stream,) = settled(client, "/api/teams/byhand/streams", "1hour")
    assert (stream["name"], stream["adapter"], stream["intervals"]) == ("tape", None, ["1hour", "1minute"])
    names = [topic["name"] for topic in settled(client, "/api/topics", "lit.byhand.ticks.tape")]
    assert "lit.byhand.ticks.tape" in names


@pytest.mark.kafka
def test_a_key_of_one_team_sees_that_team_alone(client: TestClient, services: Services, kafka: str) -> None:
    topics.create_topics(kafka, topics.ticks("ours", "tape"), topics.ticks("theirs", "tape"))
    _, token = services.keys.create("reader", "viewer", ["ours"])
    mine = {"Authorization": f"Bearer {token}"}
    assert settled(client, "/api/teams", "ours", mine) == ["ours"]
    assert {topic["team"] for topic in settled(client, "/api/topics", "lit.ours.ticks.tape", mine)} == {"ours"}
    assert client.get("/api/teams/theirs/streams", headers=mine).status_code == 403
    assert client.get("/api/internal/store/theirs/count?source=tape", headers=mine).status_code == 403


@pytest.mark.kafka
def test_a_key_is_shown_once_and_a_deleted_one_opens_nothing(client: TestClient) -> None:
    made = client.post("/api/keys", json={"name": "page", "role": "viewer", "teams": ["ours"]})
    assert made.status_code == 201
    key, mine = made.json(), {"Authorization": f"Bearer {made.json()['token']}"}
    (listed,) = client.get("/api/keys").json()
    assert listed["id"] == key["id"] and key["token"] not in client.get("/api/keys").text
    assert client.get("/api/me", headers=mine).json()["teams"] == ["ours"]
    assert client.get("/api/keys", headers=mine).status_code == 403
    assert client.delete(f"/api/keys/{key['id']}").status_code == 204
    assert client.delete(f"/api/keys/{key['id']}").status_code == 404
    assert client.get("/api/me", headers=mine).status_code == 401
    assert client.post("/api/keys", json={"name": "x", "role": "owner"}).status_code == 422


@pytest.mark.kafka
def test_the_documents_and_the_status_are_served(client: TestClient) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    assert "/api/teams/{team}/streams" in paths and not any("internal" in path for path in paths)
    assert client.get("/api/asyncapi.json").json()["asyncapi"].startswith("3.")
    status = client.get("/api/status").json()
    assert status["broker"]["reachable"] is True and status["workers"] == []
    assert client.get("/api/health").json()["status"] == "ok"
    assert "lit_requests" in client.get("/api/metrics").text
