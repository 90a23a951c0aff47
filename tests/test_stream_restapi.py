"""The restapi output: its models, predictions from given inputs and from a symbol's latest state, its keys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lit.features.bars import BarBuilder
from lit.features.dataset import DatasetAdapter
from lit.features.intervals import Interval
from lit.serving.desk import Desk
from lit.serving.opening import Deployment, Output, Parameters, open_model, save_deployment
from lit.serving.predictions import inputs_digest
from lit.serving.restapi import serve
from lit.streams import topics
from lit.streams.broker import free_port
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.errors import FaultError, UserError
from lit.streams.live_health import read_health
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace
from tests.feeds import add_stream
from tests.insight_stage import FEATURES, feature, keep, linear
from tests.page_stage import CHROMIUM, chromium
from tests.tape import real_ticks

pytestmark = pytest.mark.kafka
TEAM = "asked"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), TEAM)
    keep(found, "Unnamed_0", linear(["bars", "atr"]), ["bars", "atr"])
    keep(found, "with flow", linear(["bars", "flow"], seed=2), ["bars", "flow"])
    return found


@contextlib.asynccontextmanager
async def served(workspace: Workspace, kafka: str, name: str, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    add_stream(workspace, name, "restapi", port=port, **given)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(workspace, name, kafka, stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
        deadline = time.monotonic() + 25
        while True:
            with contextlib.suppress(httpx.TransportError):
                await client.get("/")
                break
            if task.done():
                task.result()
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        try:
            yield client
        finally:
            stop.set()
            await task


def send(kafka: str, stream: str, tape: TickBlock) -> None:
    topic = topics.ticks(TEAM, stream)
    topics.create_topics(kafka, topic)
    out = producer(kafka)
    for start in range(0, len(tape), 500):
        message = encode(tape.slice(start, start + 500))
        out.produce(topic.name, key=message.key, value=message.value, headers=message.headers)
    assert out.flush(20) == 0


async def test_models_of_its_deployments_predict_from_given_inputs(kafka: str, workspace: Workspace) -> None:
    save_deployment(workspace, Deployment("restapi_1", "testapi", Output(models=["Unnamed_0"])))
    save_deployment(workspace, Deployment("elsewhere", "other", Output(models=["with flow"])))
    async with served(workspace, kafka, "testapi", api_keys=[]) as client:
        (model,) = (await client.get("/models")).json()
        assert (model["model"], model["deployment"], model["epoch"]) == ("Unnamed_0", "restapi_1", 3)
        assert model["inputs"][0]["shape"] == [20, 8] and model["inputs"][1]["columns"] == ["atr"]
        rng = np.random.default_rng(4)
        sample = {name: rng.normal(size=FEATURES[name][2]).astype("f4") for name in ("bars", "atr")}
        inputs = {name: value.tolist() for name, value in sample.items()}
        reply = await client.post("/predict", json={"model": "Unnamed_0", "inputs": inputs})
        assert reply.status_code == 200, reply.text
        predictor: Any = open_model(workspace, "Unnamed_0").predictor
        stacked = {name: value[None] for name, value in sample.items()}
        assert reply.json()["prediction"] == predictor.predict_many(stacked)[0].tolist()
        assert reply.json()["inputs_digest"] == inputs_digest(sample)
        wrong = [
            ({"model": "nobody", "inputs": inputs}, 404, "Unnamed_0"),
            ({"model": "Unnamed_0"}, 400, "either inputs or symbol"),
            ({"model": "Unnamed_0", "inputs": {"bars": inputs["bars"]}}, 400, "'atr' is missing"),
            ({"model": "Unnamed_0", "inputs": {**inputs, "atr": [1, 2]}}, 400, r"(5, 1)"),
            ({"model": "Unnamed_0", "inputs": {**inputs, "atr": [[1], [2, 3]]}}, 400, "regular"),
            ({"model": "Unnamed_0", "symbol": "IBM.N"}, 400, "source"),
            ({"model": "Unnamed_0", "inputs": inputs, "more": 1}, 422, "more"),
        ]
        for body, status, sentence in wrong:
            reply = await client.post("/predict", json=body)
            assert reply.status_code == status and sentence in reply.text, reply.text
        assert (await client.post("/predict", content=b"x" * 17_000_000)).status_code == 413
        document = (await client.get("/openapi.json")).json()
        assert set(document["paths"]) == {"/models", "/symbols", "/predict"}
        save_deployment(workspace, Deployment("restapi_1", "testapi", Output(models=["Unnamed_0", "with flow"])))
        deadline = time.monotonic() + 25
        while len((await client.get("/models")).json()) < 2:  # chosen while it runs: no restart
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_the_latest_state_of_a_symbol_is_predicted_as_a_deployment_would(
    kafka: str, workspace: Workspace
) -> None:
    tape = real_ticks("IBM.N", 1).slice(0, 20_000)
    send(kafka, "feed", tape)
    save_deployment(workspace, Deployment("latest", "now", Output(models=["Unnamed_0", "with flow"])))
    async with served(workspace, kafka, "now", api_keys=["k3y"], source="feed", host="127.0.0.1") as client:
        client.headers["X-API-Key"] = "k3y"
        deadline = time.monotonic() + 60
        while (await client.get("/symbols")).json() != ["IBM.N"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        bars = BarBuilder(Interval.parse("1minute")).update(tape)
        for model, names in (("Unnamed_0", ("bars", "atr")), ("with flow", ("bars", "flow"))):
            reply = await client.post("/predict", json={"model": model, "symbol": "IBM.N"})
            while time.monotonic() < deadline and (
                reply.status_code == 400 or reply.json()["index"] < bars.last_index[-1]
            ):  # the stream is still being read
                await asyncio.sleep(0.1)
                reply = await client.post("/predict", json={"model": model, "symbol": "IBM.N"})
            assert reply.status_code == 200, reply.text
            said = reply.json()
            assert said["index"] == bars.last_index[-1] and said["symbol"] == "IBM.N" and said["interval"] == "1minute"
            adapter = DatasetAdapter.of_blocks([tape])
            expected = {name: feature(name).compute(adapter, said["index"], {}) for name in names}
            assert said["inputs_digest"] == inputs_digest({k: v.astype("f4") for k, v in expected.items()})  # type: ignore[union-attr]
        reply = await client.post("/predict", json={"model": "Unnamed_0", "symbol": "XYZ"})
        assert reply.status_code == 400 and "IBM.N" in reply.text
        for ticker, code, seen in (("IBM", 200, ["IBM.N"]), ("BAC, GE", 400, [])):
            only = Deployment("latest", "now", Output(models=["Unnamed_0"]), Parameters(ticker))
            save_deployment(workspace, only)
            while (await client.get("/symbols")).json() != seen or len((await client.get("/models")).json()) > 1:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            reply = await client.post("/predict", json={"model": "Unnamed_0", "symbol": "IBM.N"})
            assert reply.status_code == code and (code == 200 or "serves BAC, GE, not 'IBM.N'" in reply.text)


def test_one_process_computes_on_one_device(workspace: Workspace) -> None:
    for name, device in (("first", "CPU"), ("second", "gpu:0")):
        save_deployment(workspace, Deployment(name, "mixed", Output(device=device, models=["Unnamed_0"])))
    desk = Desk(workspace, "mixed", "")
    assert desk.look() and [of for of, _ in desk.opened] == ["first"] and "gpu:0" in desk.problems["second"]


async def test_only_who_has_a_key_may_ask(kafka: str, workspace: Workspace) -> None:
    async with served(workspace, kafka, "closed", api_keys=["first", "second"], host="127.0.0.1") as client:
        for headers in ({}, {"X-API-Key": "firs"}, {"X-API-Key": "firstsecond"}, {"Authorization": "Bearer x"}):
            for method, path in (("GET", "/models"), ("GET", "/symbols"), ("POST", "/predict")):
                assert (await client.request(method, path, headers=headers, json={})).status_code == 401
        for headers in ({"X-API-Key": "second"}, {"Authorization": "Bearer first"}):
            assert (await client.get("/models", headers=headers)).status_code == 200
        health = read_health(workspace, "closed")
        assert health is not None and "first" not in json.dumps(health.position)
    with pytest.raises(UserError, match="api_keys is empty"):
        async with served(workspace, kafka, "open", api_keys=[], host="0.0.0.0"):
            pass


async def test_a_taken_port_is_told(kafka: str, workspace: Workspace) -> None:
    async with served(workspace, kafka, "one") as client:
        add_stream(workspace, "two", "restapi", port=client.base_url.port)
        with pytest.raises(FaultError, match="port"):
            await serve(workspace, "two", kafka, asyncio.Event())


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here")
async def test_the_page_takes_a_key_predicts_and_loads_nothing_from_elsewhere(
    kafka: str, workspace: Workspace, tmp_path: Path
) -> None:
    save_deployment(workspace, Deployment("shown", "pages", Output(models=["Unnamed_0"])))
    rng = np.random.default_rng(4)
    sample = {name: rng.normal(size=FEATURES[name][2]).astype("f4") for name in ("bars", "atr")}
    body = json.dumps({"model": "Unnamed_0", "inputs": {name: value.tolist() for name, value in sample.items()}})
    predictor: Any = open_model(workspace, "Unnamed_0").predictor
    expected = predictor.predict_many({name: value[None] for name, value in sample.items()})[0].tolist()
    async with served(workspace, kafka, "pages", api_keys=["k3y"], host="127.0.0.1") as client:
        address = str(client.base_url)

        def visit() -> tuple[list[str], str, list[str], list[str]]:
            with chromium() as browser:
                page, asked, complaints = browser.new_page(), [], []
                page.on("request", lambda request: asked.append(request.url))
                page.on("pageerror", lambda error: complaints.append(str(error)))
                page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
                page.goto(address)
                predict = page.locator(".opblock", has_text="/predict")
                predict.locator(".opblock-summary-control").click()
                paths = page.locator(".opblock-summary-path").all_inner_texts()
                predict.get_by_role("textbox").fill(body)
                predict.get_by_role("button", name="Execute").click()
                predict.locator(".live-responses-table .response-col_status", has_text="401").wait_for()
                page.locator(".auth-wrapper .authorize").first.click()
                page.locator("#api_key_value").fill("k3y")
                page.get_by_role("button", name="Apply credentials").first.click()
                page.get_by_role("button", name="Close").first.click()
                predict.get_by_role("button", name="Execute").click()
                answer = predict.locator(".live-responses-table")
                answer.locator(".response-col_status", has_text="200").wait_for()
                page.screenshot(path=tmp_path / "page.png", full_page=True)
                return paths, answer.locator("pre code").first.inner_text(), asked, complaints

        paths, answer, asked, complaints = await asyncio.to_thread(visit)
    assert sorted(path.replace("\u200b", "") for path in paths) == ["/models", "/predict", "/symbols"]
    assert json.loads(answer)["prediction"] == expected
    assert all(url.startswith((address, "data:")) for url in asked), asked
    assert [text for text in complaints if "401" not in text] == []
