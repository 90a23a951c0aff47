"""Insights on predictions: inputs computed again from Kafka; impact and what-if of real models in their own process."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.cli import insight as command
from lit.features.bars import BarBuilder
from lit.features.dataset import DatasetAdapter
from lit.features.intervals import Interval
from lit.features.window import SymbolWindow
from lit.serving.config import SHADOW
from lit.serving.insight import Cell
from lit.serving.insight_process import InsightProcesses
from lit.serving.insight_record import MissingPredictionError
from lit.serving.insight_worker import packed
from lit.serving.insights import Insights
from lit.serving.opening import Deployment, Output, Parameters, open_model, save_deployment
from lit.serving.predictions import Model, inputs_digest, inputs_of
from lit.streams import topics
from lit.streams.clients import producer
from lit.streams.codec import encode
from lit.streams.errors import UserError
from lit.streams.records import Bar, Prediction, encode_json
from lit.streams.store_open import open_store
from lit.streams.tick import TickBlock, Watermark
from lit.streams.workspace import Workspace
from tests.insight_stage import FEATURES, feature, keep, linear, product, write_asset, write_signs
from tests.tape import real_ticks

TEAM, STREAM = "insight", "tape"
MINUTE, FIVE = Interval.parse("1minute"), Interval.parse("5minute")
AT = 150  # the bar that insights are asked of


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), TEAM)
    write_asset(found, list(FEATURES))
    keep(found, "line", linear(["bars", "atr"]), ["bars", "atr"])
    keep(found, "with flow", linear(["bars", "flow"]), ["bars", "flow"])
    write_signs(found)
    keep(found, "product", product(), ["flow"], asset="signs")
    return found


@pytest.fixture(scope="module")
def processes() -> Iterator[InsightProcesses]:
    found = InsightProcesses()
    yield found
    found.close()


def ask(processes: InsightProcesses, workspace: Workspace, question: str, model: str, inputs: Any, **more: Any) -> Any:
    subject = {"data": str(workspace.data), "team": TEAM, "model": model}
    if question != "what_if":
        more = {"symbol": "IBM", **more}
    return processes.ask(TEAM, question, {"subject": subject, "inputs": packed(inputs), "output": None, **more})


# --- models with known answers ------------------------------------------------------------------------------------


def test_a_linear_model_of_two_inputs_acts_column_by_column(workspace: Workspace, processes: InsightProcesses) -> None:
    rng = np.random.default_rng(8)
    sample = {name: rng.normal(size=FEATURES[name][2]).astype("f4") for name in ("bars", "atr")}
    said = ask(processes, workspace, "impact", "line", sample)
    parts = said["impact"]["columns"]
    assert [(p["feature"], p["column"]) for p in parts] == [("bars", n) for n in range(8)] + [("atr", 0)]
    assert said["impact"]["by_column"]["method"] == "exact"
    assert all(p["effect"]["independence"] == pytest.approx(1, abs=2e-3) for p in parts)
    total = said["impact"]["by_column"]["everybody"] - said["impact"]["by_column"]["nobody"]
    assert sum(p["effect"]["saliency"] for p in parts) == pytest.approx(total, abs=1e-6)
    weights = linear(["bars", "atr"]).get_weights()[0][:160, 0].reshape(20, 8)
    background = write_asset(Workspace(workspace.data, "other"), ["bars", "atr", "flow"])["bars"]
    rows = np.sort(np.random.default_rng(0).permutation(200)[:64])
    expected = (sample["bars"] - background[rows].mean(axis=0)) * weights
    assert np.allclose([p["effect"]["saliency"] for p in parts[:8]], expected.sum(axis=0), atol=1e-6)
    facts = {"asset": "small", "digest": "sha256:train", "rows": 64, "symbol": "IBM", "is_training_asset": True}
    assert said["background"] == facts
    other = ask(processes, workspace, "influences", "line", sample, symbol="MSFT")
    assert other["background"] == {**facts, "symbol": None} and len(other["cells"]) == 50


def test_a_product_s_factors_do_little_alone(workspace: Workspace, processes: InsightProcesses) -> None:
    said = ask(processes, workspace, "impact", "product", {"flow": np.array([3.0, -3.0], "f4")})
    effects = [part["effect"] for part in said["impact"]["columns"]]
    assert all(effect["independence"] == 0 and effect["saliency"] == pytest.approx(-4.5) for effect in effects)
    assert said["impact"]["features"][0]["effect"]["independence"] == 1


def test_what_if_is_the_very_prediction_of_the_edited_inputs(workspace: Workspace, processes: InsightProcesses) -> None:
    rng = np.random.default_rng(9)
    sample = {name: rng.normal(size=FEATURES[name][2]).astype("f4") for name in ("bars", "atr")}
    edits = [({"feature": "bars", "row": -1, "column": 5}, 1000.0), ({"feature": "atr", "row": 0, "column": 0}, 0.5)]
    said = ask(processes, workspace, "what_if", "line", sample, edits=edits)
    changed = {name: value.copy() for name, value in sample.items()}
    changed["bars"][-1, 5], changed["atr"][0, 0] = 1000.0, 0.5
    predictor: Any = open_model(workspace, "line", single=False).predictor
    assert said["prediction"] == predictor.predict(changed).tolist()
    assert said["original"] == predictor.predict(sample).tolist()
    assert [edit["after"] for edit in said["edits"]] == [1000.0, 0.5]
    with pytest.raises(UserError, match="its shape is"):
        ask(processes, workspace, "what_if", "line", sample, edits=[({"feature": "atr", "row": 9, "column": 0}, 0.0)])


def test_what_if_is_answered_while_an_impact_is_computed(workspace: Workspace, processes: InsightProcesses) -> None:
    rng = np.random.default_rng(9)
    sample = {name: rng.normal(size=FEATURES[name][2]).astype("f4") for name in ("bars", "atr")}
    edits = [({"feature": "bars", "row": -1, "column": 5}, 1.0)]
    done: list[float] = []
    slow = threading.Thread(
        target=lambda: (
            [ask(processes, workspace, "impact", "line", sample) for _ in range(4)] and done.append(time.monotonic())
        )
    )
    slow.start()
    while not done and len(done) < 50:
        ask(processes, workspace, "what_if", "line", sample, edits=edits)
        if slow.is_alive():
            break
    answered_before = not done
    slow.join()
    assert answered_before and len(done) == 1


# --- the process --------------------------------------------------------------------------------------------------


def test_the_asking_process_loads_no_tensorflow(workspace: Workspace) -> None:
    import subprocess

    code = (
        "import sys, lit.serving.insights, lit.api.app; print([m for m in ('tensorflow','shap') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_a_question_that_takes_too_long_ends_the_process_who_waited_is_told_and_the_next_has_another(
    workspace: Workspace, processes: InsightProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "def feature(adapter, index, params):\n    while True: pass\n"
    endless = f'"""\nParameters\n----------\nrate : integer\n"""\n{endless}'
    keep(workspace, "endless", linear(["flow"]), ["flow"], flow=endless)
    sample = {"flow": np.array([1.0, 2.0], "f4")}
    ask(processes, workspace, "what_if", "product", sample, edits=[])
    first, told = processes.pids[TEAM], []

    def wait() -> None:
        try:
            ask(processes, workspace, "what_if", "product", sample, edits=[])
        except UserError as error:
            told.append(str(error))

    waiting = threading.Timer(2.0, wait)
    waiting.start()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_seconds", 8.0)
        with pytest.raises(UserError, match="took longer than 8 s"):
            processes.ask(TEAM, "reads", {"subject": {"data": str(workspace.data), "team": TEAM, "model": "endless"}})
    waiting.join(60)
    assert told and "signal 9" in told[0]
    again = ask(processes, workspace, "what_if", "product", sample, edits=[])
    assert again["prediction"] == [2.0] and processes.pids[TEAM] != first


# --- inputs from the record ---------------------------------------------------------------------------------------


def send(bootstrap: str, topic: str, key: str, values: list[bytes]) -> None:
    sender = producer(bootstrap)
    for value in values:
        sender.produce(topic, key=key.encode(), value=value)
    assert sender.flush(30) == 0


def send_ticks(bootstrap: str, topic: str, tape: TickBlock, size: int = 900) -> None:
    """Blocks with watermarks between them, and each block twice, as a restarted feed sends it."""
    sender = producer(bootstrap)
    for at in range(0, len(tape), size):
        block = tape.slice(at, at + size)
        mark = Watermark(tape.symbol, int(block.timestamp[-1]), block.next_index)
        for item in (block, block, mark):
            message = encode(item)
            sender.produce(topic, key=message.key, value=message.value, headers=message.headers)
    assert sender.flush(30) == 0


@lru_cache
def tape() -> TickBlock:
    """The trades up to some bars behind those that are looked at."""
    whole = real_ticks("IBM.N", 1)
    made = BarBuilder(MINUTE).update(whole)
    return whole.slice(0, int(made.last_index[AT + 4]) + 1)


@lru_cache
def bars(interval: Interval = MINUTE) -> list[Bar]:
    return list(BarBuilder(interval).update(tape()).records("IBM.N", str(interval)))


@lru_cache
def opened(workspace: Workspace, model: str) -> Model:
    return open_model(workspace, model)


@lru_cache
def record(kafka: str, *published: Interval) -> str:
    """Record the trades as a stream with these bars; return its name."""
    name = f"{STREAM}-{len(published)}"
    topics.create_topics(kafka, topics.ticks(TEAM, name))
    send_ticks(kafka, topics.ticks(TEAM, name).name, tape())
    for interval in published:
        publish_bars(kafka, name, interval, bars(interval))
    return name


def publish_bars(kafka: str, stream: str, interval: Interval, made: list[Bar]) -> None:
    topic = topics.bars(TEAM, stream, str(interval))
    topics.create_topics(kafka, topic)
    send(kafka, topic.name, "IBM.N", [encode_json(bar) for bar in made])


class Stage:
    """A deployment's records of a morning of trades."""

    def __init__(self, workspace: Workspace, kafka: str, name: str, models: list[str], *published: Interval) -> None:
        self.workspace, self.kafka, self.name = workspace, kafka, name
        self.stream = record(kafka, *published)
        save_deployment(workspace, Deployment(name, self.stream, Output(models=models), Parameters(interval="1minute")))
        topics.create_topics(kafka, topics.predictions(TEAM, name))
        for model in models:
            self.publish(self.predict(model, bars()[AT]))

    def predict(self, model: str, bar: Bar) -> Prediction:
        """What the deployment itself makes of a bar."""
        window = SymbolWindow("IBM.N", [MINUTE, FIVE])
        window.feed(tape().slice(0, bar.last_index + 2))
        served = opened(self.workspace, model)
        inputs = inputs_of(served, window, bar.last_index)
        assert inputs is not None
        said = served.predictor.predict_many({name: value[None] for name, value in inputs.items()})
        return Prediction(
            deployment=self.name,
            model=model,
            symbol=bar.symbol,
            interval=str(MINUTE),
            bar_start=bar.start,
            index=bar.last_index,
            prediction=np.asarray(said, np.float64)[0].tolist(),
            inputs_digest=inputs_digest(inputs),
            ordinal=bar.ordinal,
            published_at="",
            latency_ms=0.0,
        )

    def publish(self, prediction: Prediction) -> None:
        stamped = msgspec.structs.replace(prediction, published_at="2099-01-01T00:00:00.000Z", epoch=3)
        topic = topics.predictions(TEAM, self.name).name
        send(self.kafka, topic, stamped.symbol, [encode_json(stamped)])


@pytest.mark.kafka
def test_inputs_are_those_that_were_predicted_from_whatever_the_features_read(
    workspace: Workspace, processes: InsightProcesses, kafka: str
) -> None:
    Stage(workspace, kafka, "both", ["line", "with flow"], MINUTE, FIVE)
    insights = Insights(workspace.data, kafka, processes)
    index = bars()[AT].last_index
    adapter = DatasetAdapter.of_blocks([tape()])
    for model in ("line", "with flow"):
        found = insights.situation(TEAM, "both", index, model=model)
        assert found.same_inputs and found.same_prediction and found.notes == [], model
        for name, value in found.inputs.items():
            expected = feature(name).compute(adapter, index, {})
            assert expected is not None and value.tobytes() == expected.astype("f4").tobytes()
        assert found.columns["bars"] == FEATURES["bars"][3]
    with pytest.raises(UserError, match=r"several predictions at index .* line of IBM\.N, with flow of IBM\.N"):
        insights.situation(TEAM, "both", index)
    with pytest.raises(UserError, match="no prediction at index 3"):
        insights.situation(TEAM, "both", 3)
    assert insights.situation(TEAM, "both", None, model="line").prediction.index == index
    impact = insights.impact(TEAM, found)
    assert len(impact["columns"]) == 10 and impact["columns"][0]["column"] in FEATURES["bars"][3]
    said = insights.what_if(TEAM, found, [(Cell("flow", None, 1), 0.0)])
    assert said["original"] == pytest.approx(found.prediction.prediction, rel=1e-5)
    assert said["difference"] == pytest.approx(said["edits"][0]["alone"], abs=1e-6)


@pytest.mark.kafka
def test_a_look_back_beyond_the_bars_read_first_goes_on(
    workspace: Workspace, processes: InsightProcesses, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit.serving.insights._BARS", 3)
    monkeypatch.setattr("lit.serving.insight_record._CHUNK", 2)
    Stage(workspace, kafka, "far", ["line"], MINUTE, FIVE)
    found = Insights(workspace.data, kafka, processes).situation(TEAM, "far", bars()[AT].last_index)
    assert found.same_inputs


@pytest.mark.kafka
@pytest.mark.parametrize("at_first", [4096, 50])
def test_where_bars_are_not_published_or_lag_the_ticks_tell(
    workspace: Workspace, processes: InsightProcesses, kafka: str, monkeypatch: pytest.MonkeyPatch, at_first: int
) -> None:
    monkeypatch.setattr("lit.serving.insights._TICKS", at_first)
    name = f"ticks only {at_first}"
    stage = Stage(workspace, kafka, name, ["line"], MINUTE)  # nobody publishes five minutes
    insights = Insights(workspace.data, kafka, processes)
    assert insights.situation(TEAM, name, bars()[AT].last_index).same_inputs
    publish_bars(kafka, stage.stream, FIVE, bars(FIVE)[:10])  # far behind
    assert Insights(workspace.data, kafka, processes).situation(TEAM, name, bars()[AT].last_index).same_inputs


@pytest.mark.kafka
def test_inputs_that_are_not_those_predicted_from_are_said_to_be_others(
    workspace: Workspace, processes: InsightProcesses, kafka: str
) -> None:
    stage = Stage(workspace, kafka, "odd", [], MINUTE, FIVE)
    made = msgspec.structs.replace(stage.predict("line", bars()[AT]), inputs_digest="sha256:0", prediction=[9.0])
    stage.publish(made)
    insights = Insights(workspace.data, kafka, processes)
    found = insights.situation(TEAM, "odd", made.index)
    assert not found.same_inputs and not found.same_prediction and "digests differ" in found.notes[0]
    other = msgspec.structs.replace(stage.predict("line", bars()[AT + 1]), prediction=[9.0])
    stage.publish(other)
    found = insights.situation(TEAM, "odd", other.index)
    assert found.same_inputs and "not the one that predicted" in found.notes[0]


def test_an_asset_that_is_gone_is_told_with_the_fix(
    workspace: Workspace, processes: InsightProcesses, tmp_path: Path
) -> None:
    keep(workspace, "orphan", product(), ["flow"], asset="gone")
    with pytest.raises(UserError, match=r"asset 'gone'.*build it"):
        ask(processes, workspace, "impact", "orphan", {"flow": np.array([1.0, 2.0], "f4")})
    assert ask(processes, workspace, "what_if", "orphan", {"flow": np.array([1.0, 2.0], "f4")}, edits=[])


# --- over HTTP and on the command line ----------------------------------------------------------------------------


@pytest.mark.kafka
def test_insights_over_http(
    workspace: Workspace, processes: InsightProcesses, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(workspace, kafka, "web", ["line"], MINUTE, FIVE)
    monkeypatch.setattr("lit.api.app.Insights", lambda data, bootstrap: Insights(data, bootstrap, processes))
    index = bars()[AT].last_index
    with open_store(workspace.data, None) as stores:
        services = Services(ApiConfig(workspace.data, kafka, workspace.data / "static"), stores)
        client = TestClient(create_app(services), headers={"Authorization": f"Bearer {services.keys.admin_token}"})

        def call(method: str, path: str, code: int = 200, body: Any = None) -> Any:
            reply = client.request(method, f"/api/teams/{TEAM}/deployments/{path}", json=body)
            assert reply.status_code == code, reply.text
            return reply.json()

        inputs = call("GET", f"web/insights/{index}/inputs")
        assert inputs["same_inputs"] and inputs["notes"] == [] and inputs["prediction"]["model"] == "line"
        table, atr = inputs["features"]
        assert table["columns"] == FEATURES["bars"][3] and len(table["rows"]) == 20 and len(atr["rows"]) == 5
        assert table["rows"][-1][3] == pytest.approx(bars()[AT - 1].close, rel=1e-6)

        impact = call("GET", f"web/insights/{index}/impact")
        columns = impact["columns"]
        assert [abs(c["saliency"]) for c in columns] == sorted((abs(c["saliency"]) for c in columns), reverse=True)
        total = sum(column["saliency"] for column in columns)
        assert total == pytest.approx(impact["prediction"] - impact["base"], rel=1e-4)
        assert sum(f["saliency"] for f in impact["features"]) == pytest.approx(total, rel=1e-4)

        cells = call("GET", f"web/insights/{index}/cells")["cells"]
        assert len(cells) == 50 and abs(cells[0]["effect"]) >= abs(cells[-1]["effect"])

        edits = [{"feature": "bars", "row": row, "column": "volume", "value": 0} for row in range(-9, 0)]
        said = call("POST", f"web/insights/{index}/what-if", 200, {"cells": edits})
        assert said["original"] == pytest.approx(inputs["prediction"]["prediction"], rel=1e-5)
        assert said["difference"] == pytest.approx(sum(one["alone"] for one in said["edits"]), rel=1e-3)
        assert [one["column"] for one in said["edits"]] == ["volume"] * 9

        assert "no prediction" in call("GET", "web/insights/7/inputs", 404)["detail"]
        call("GET", "none/insights/7/inputs", 404)
        shadow = topics.predictions(TEAM, "web" + SHADOW)
        topics.create_topics(kafka, shadow)
        hidden = msgspec.structs.replace(
            stage.predict("with flow", bars()[AT]), published_at="2099-01-01T00:00:01.000Z"
        )
        send(kafka, shadow.name, hidden.symbol, [encode_json(hidden)])
        for role, code in (("editor", 200), ("viewer", 404)):
            _, token = services.keys.create(role, role, [TEAM])
            bearer = {"Authorization": f"Bearer {token}"}
            path = f"/api/teams/{TEAM}/deployments/web/insights/{index}/inputs"
            assert client.get(path, headers=bearer).json()["prediction"]["model"] == "line"
            assert client.get(f"{path}?model=with flow", headers=bearer).status_code == code
        wrong = {"cells": [{"feature": "bars", "row": 0, "column": "turnover", "value": 0}]}
        assert "no column 'turnover'" in call("POST", f"web/insights/{index}/what-if", 400, wrong)["detail"]


@pytest.mark.kafka
def test_what_a_shadow_model_predicts_is_explained_to_who_may_and_names_it(
    workspace: Workspace, processes: InsightProcesses, kafka: str
) -> None:
    stage = Stage(workspace, kafka, "unseen", ["line"], MINUTE, FIVE)
    shadow = topics.predictions(TEAM, "unseen" + SHADOW)
    topics.create_topics(kafka, shadow)
    said = msgspec.structs.replace(stage.predict("with flow", bars()[AT]), published_at="2099-01-01T00:00:01.000Z")
    send(kafka, shadow.name, said.symbol, [encode_json(said)])
    insights, index = Insights(workspace.data, kafka, processes), said.index
    for place in (index, None):  # a shadow beside it changes nothing for users
        assert insights.situation(TEAM, "unseen", place).prediction.model == "line"
        assert insights.situation(TEAM, "unseen", place, model="with flow").same_inputs
        with pytest.raises(MissingPredictionError):
            insights.situation(TEAM, "unseen", place, model="with flow", hidden=False)


@pytest.mark.kafka
def test_a_prediction_is_explained_on_the_command_line(
    workspace: Workspace, processes: InsightProcesses, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stage(workspace, kafka, "shell", ["line"], MINUTE, FIVE)
    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    monkeypatch.setenv("LIT_KAFKA", kafka)
    monkeypatch.setattr("lit.serving.insights.InsightProcesses", lambda: processes)
    monkeypatch.setattr(processes, "close", lambda: None)
    app = typer.Typer()
    command.register(app)
    index = str(bars()[AT].last_index)
    words = ["shell", index, "--team", TEAM]
    said = CliRunner().invoke(app, [*words, "--cells"])
    assert said.exit_code == 0, said.output
    assert "are those that were predicted from" in said.stdout and "independence" in said.stdout
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told["same_inputs"] and len(told["impact"]["columns"]) == 9 and len(told["inputs"]["bars"]) == 20
    edited = CliRunner().invoke(app, [*words, "--set", "bars.volume[-1]=0"]).stdout
    assert "bars.volume[-1]: " in edited and "then it says" in edited and "independence" not in edited
    wrong = CliRunner().invoke(app, ["shell", index, "--team", TEAM, "--set", "volume=0"])
    assert isinstance(wrong.exception, UserError) and "FEATURE.COLUMN" in str(wrong.exception)
    assert processes.pids
    processes.end_idle()
    assert not processes.pids
