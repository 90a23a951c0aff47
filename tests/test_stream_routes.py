"""Streams over REST and the command line: forms, secrets, start and stop, steering, health, gaps; who runs what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner
from websockets.asyncio.server import ServerConnection

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.api.specs import desired_workers
from lit.cli import app
from lit.streams import topics
from lit.streams.clients import partitions_of
from lit.streams.errors import LitError
from lit.streams.live import stream_path
from lit.streams.store_open import open_store
from lit.streams.workspace import Workspace, removal_of
from tests.feeds import FIELDS, add_stream, provider, running, trade, until
from tests.training import add_item

pytestmark = pytest.mark.kafka
TEAM = "streamed"
BASE = f"/api/teams/{TEAM}"
NASDAQ = {"bootstrap": "b:9094", "token_url": "https://t", "client_id": "me", "client_secret": "geheim"}


@pytest.fixture
def services(kafka: str, tmp_path: Path) -> Iterator[Services]:
    with open_store(tmp_path, None) as stores:
        yield Services(ApiConfig(tmp_path, kafka, tmp_path / "static"), stores)


@pytest.fixture
def client(services: Services) -> TestClient:
    return TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})


def lit(data: Path, kafka: str, *words: str) -> tuple[int, str]:
    environment = {"LIT_DATA": str(data), "LIT_KAFKA": kafka}
    done = CliRunner().invoke(app, ["stream", *words, "--team", TEAM], env=environment)
    if isinstance(done.exception, LitError):
        return done.exception.exit_code, str(done.exception)
    return done.exit_code, done.output


def test_adapters_have_forms_and_a_stream_that_does_not_fit_leaves_no_file(client: TestClient, tmp_path: Path) -> None:
    found = {one["name"]: one for one in client.get(f"{BASE}/stream-adapters").json()}
    assert found["restapi"]["kind"] == "output" and found["crypto"]["kind"] == "input"
    fields = {field["name"]: field for field in found["nasdaq"]["fields"]}
    assert fields["client_secret"]["kind"] == "secret" and fields["client_secret"]["required"]
    assert fields["product"]["default"] == "NLSUTP" and fields["security"]["choices"][0] == "sasl_ssl"
    wrong = [
        ({"adapter": {"name": "nosuch"}}, "nosuch"),
        ({"adapter": {"name": "nasdaq"}}, "'bootstrap' is missing"),
        ({"adapter": {"name": "restapi"}, "parameters": {"port": 0}}, ">= 1"),
        ({"adapter": {"name": "crypto"}, "parameters": {"market": "x"}}, "'market' is unknown"),
    ]
    for body, sentence in wrong:
        reply = client.put(f"{BASE}/streams/x", json=body)
        assert reply.status_code == 400 and sentence in reply.json()["detail"], reply.text
    assert not (tmp_path / TEAM / "streams/x.json").exists()


def test_a_stream_may_be_made_with_partitions_over_rest(client: TestClient, kafka: str, tmp_path: Path) -> None:
    base, body = "/api/teams/sharing", {"adapter": {"name": "crypto"}}
    for number, code, sentence in ((0, 422, ""), (3, 200, ""), (2, 400, "with 3 partitions")):
        reply = client.put(f"{base}/streams/wide?partitions={number}", json=body)
        assert reply.status_code == code and sentence in reply.text
        assert len(partitions_of(kafka, topics.ticks("sharing", "wide").name)) == (3 if number else 0)
    assert client.put(f"{base}/streams/wide", json={**body, "intervals": ["5second"]}).status_code == 200


def test_a_secret_is_written_and_never_shown(client: TestClient, tmp_path: Path) -> None:
    body: dict[str, Any] = {"adapter": {"name": "nasdaq"}, "parameters": NASDAQ}
    reply = client.put(f"{BASE}/streams/n", json=body)
    assert reply.status_code == 200 and "geheim" not in reply.text
    for path in ("streams", "streams/n"):
        assert "geheim" not in client.get(f"{BASE}/{path}").text
    shown = client.get(f"{BASE}/streams/n").json()["parameters"]
    client.put(f"{BASE}/streams/n", json={**body, "parameters": {**shown, "product": "NLSCTA"}})
    kept = json.loads((tmp_path / TEAM / "streams/n.json").read_text())["parameters"]
    assert kept == {**NASDAQ, "product": "NLSCTA"}


def test_what_runs_follows_from_the_files(client: TestClient, services: Services) -> None:
    client.put(f"{BASE}/streams/out", json={"adapter": {"name": "restapi"}, "parameters": {"port": 12345}})
    client.put(f"{BASE}/streams/feed", json={"adapter": {"name": "replay"}, "parameters": {"paths": ["a.csv.gz"]}})
    add_item(services.workspace(TEAM), "m")
    for name, stream in (("asked", "out"), ("told", "feed")):
        body = {"name": name, "output": {"models": ["m"]}, "stream": stream}
        assert client.put(f"{BASE}/deployments/{name}", json=body).status_code == 200

    def names() -> set[str]:
        found = {spec.name for spec in desired_workers(services)}
        return {name.removeprefix(f"{TEAM}/") for name in found if name.startswith(f"{TEAM}/")}

    assert names() == {"stream.out", "stream.feed", "bars.feed", "sink.feed", "deployment.told"}
    restarts = {name: client.post(f"{BASE}/deployments/{name}/restart").json()["detail"] for name in ("asked", "told")}
    assert "stream.out" in restarts["asked"] and "deployment.told" in restarts["told"]  # no worker runs here
    told, asked = (services.server_of(TEAM, name, services.deployments(TEAM)[name]) for name in ("told", "asked"))
    assert (told, asked) == (f"{TEAM}/deployment.told", f"{TEAM}/stream.out")
    assert client.post(f"{BASE}/streams/feed/stop").json()["enabled"] is False
    assert names() == {"stream.out", "bars.feed", "sink.feed", "deployment.told"}
    assert client.post(f"{BASE}/streams/feed/start").json()["enabled"] is True
    steered = client.post(f"{BASE}/streams/feed/steer", json={"paused": True, "speed": 2})
    assert steered.json()["parameters"] == {"paths": ["a.csv.gz"], "paused": True, "speed": 2}
    assert client.post(f"{BASE}/streams/out/steer", json={"paused": True}).status_code == 400
    assert "noon" in client.post(f"{BASE}/streams/feed/steer", json={"seek": "noon"}).json()["detail"]
    assert client.post(f"{BASE}/streams/none/stop").status_code == 404

    path = services.data / TEAM / "preview" / "told.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])  # half written, or an editor's mistake: what runs goes on
    assert "deployment.told" in names()
    (told,) = (one for one in client.get(f"{BASE}/deployments").json() if one["name"] == "told")
    assert told["models"] == ["m"] and "the change is not in effect: told.json is not" in told["last_error"]
    path.write_bytes(whole)
    assert client.get(f"{BASE}/deployments/told").json()["last_error"] is None


def test_nobody_works_for_a_stream_that_was_removed_and_its_topics_are_no_others(
    client: TestClient, services: Services, kafka: str, tmp_path: Path
) -> None:
    base, body = "/api/teams/removing", {"adapter": {"name": "replay"}, "parameters": {"paths": ["a.csv.gz"]}}
    assert client.put(f"{base}/streams/w x", json=body).status_code == 200
    topics.create_topics(kafka, topics.ticks("removing", "w x"))
    services.broker.forget()

    def names() -> list[str]:
        return [spec.name for spec in desired_workers(services) if spec.name.startswith("removing/")]

    assert names() == ["removing/stream.w x", "removing/bars.w x", "removing/sink.w x"]
    twin = client.put(f"{base}/streams/w_x", json=body)
    assert twin.status_code == 400 and "'w_x' would have the topics of 'w x'" in twin.json()["detail"]
    assert client.delete(f"{base}/streams/w x").status_code == 204
    assert names() == [] and client.get(f"{base}/streams").json() == []
    assert client.put(f"{base}/streams/w_x", json=body).status_code == 400
    assert client.put(f"{base}/streams/w x", json=body).status_code == 200 and len(names()) == 3
    client.delete(f"{base}/streams/w x")
    removal_of(stream_path(Workspace(tmp_path, "removing"), "w x")).unlink()  # as `lit replay` into it does
    assert names() == ["removing/bars.w_x", "removing/sink.w_x"]
    assert client.delete(f"{base}/streams/w_x").status_code == 204 and names() == []  # a topic alone may rest too
    assert client.delete(f"{base}/streams/w_x").status_code == 404


async def test_health_and_gaps_are_shown(client: TestClient, services: Services, kafka: str, tmp_path: Path) -> None:
    async def holed(socket: ServerConnection, _: int) -> None:
        for number in (1, 2, 9):
            await socket.send(trade(number))
        await socket.wait_closed()

    workspace = Workspace(tmp_path, TEAM)
    async with provider(holed) as url:
        add_stream(workspace, "w", "websocket", url=url, fields=FIELDS, numbering="contiguous")
        async with running(workspace, "w", kafka) as task:
            await until(workspace, "w", lambda health: health.gaps == 1, task)
            health = (await asyncio.to_thread(client.get, f"{BASE}/streams/w")).json()["health"]
            metrics = (await asyncio.to_thread(client.get, "/api/metrics")).text
    assert health["state"] == "live" and not health["stale"] and health["ticks"] == 3 and health["lag_ms"] < 60_000
    assert health["recent_gaps"][0]["missed"] == 6
    labels = f'{{stream="w",team="{TEAM}"}}'
    assert f"lit_stream_up{labels} 1.0\n" in metrics and f"lit_stream_gaps_total{labels} 1.0\n" in metrics
    (lag,) = [line for line in metrics.splitlines() if line.startswith(f"lit_stream_lag_seconds{labels}")]
    assert 0 <= float(lag.split()[-1]) < 60
    (gap,) = client.get(f"{BASE}/streams/w/gaps").json()
    assert (gap["symbol"], gap["reason"], gap["missed"]) == ("AAA", "sequence", 6)
    assert client.get(f"{BASE}/streams/w/gaps", params={"symbol": "B"}).json() == []
    code, text = lit(tmp_path, kafka, "gaps", "w")
    assert code == 0 and "6 ticks missing" in text
    code, text = lit(tmp_path, kafka, "list")
    assert "stopped: 3 ticks of 1 symbols" in text and "1 gaps" in text


def test_the_command_line_makes_changes_and_removes_streams(kafka: str, tmp_path: Path) -> None:
    given = [f"--set={name}={value}" for name, value in NASDAQ.items()]
    assert lit(tmp_path, kafka, "new", "n", "nasdaq", *given, "--interval", "5sec")[0] == 0
    code, text = lit(tmp_path, kafka, "new", "n", "nasdaq", *given)
    assert code == 2 and "lit stream set 'n'" in text
    assert lit(tmp_path, kafka, "set", "n", "--set", "symbols=AAPL, MSFT", "--set", "start=")[0] == 0
    kept = json.loads((tmp_path / TEAM / "streams/n.json").read_text())
    assert kept["parameters"] == {**NASDAQ, "symbols": ["AAPL", "MSFT"]} and kept["intervals"] == ["5second"]
    code, text = lit(tmp_path, kafka, "show", "n")
    assert code == 0 and "geheim" not in text and "never ran" in text
    assert lit(tmp_path, kafka, "pause", "n")[0] == 2
    assert lit(tmp_path, kafka, "remove", "n")[0] == 0 and lit(tmp_path, kafka, "show", "n")[0] == 2
