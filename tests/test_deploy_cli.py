"""`lit deploy` on files and against a running server: made empty, changed, promoted, watched, its log followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from lit.api.definitions import intervals_of
from lit.api.schemas import DeploymentFile, DeploymentParameters
from lit.api.server import running
from lit.cli import deploy, deploy_view
from lit.features.intervals import Interval
from lit.serving.config import DeploymentConfig
from lit.settings import Settings
from lit.streams import topics
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from tests.training import add_item


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    workspace = Workspace(tmp_path, "demo")
    for name in ("old", "new"):
        add_item(workspace, name)
    (workspace.folder("streams") / "tape.json").write_text('{"adapter": {"name": "replay"}}')
    return workspace


def lit(*words: str) -> str:
    app = typer.Typer()
    deploy.register(app)
    app.command("other")(lambda: None)
    done = CliRunner().invoke(app, ["deploy", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def file(team: Workspace, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((team.root / "preview" / f"{name}.json").read_text())
    return found


def test_a_vault_item_is_deployed_and_a_second_one_joins_in_the_shadow(team: Workspace) -> None:
    assert "`lit up` runs it" in lit("old", "--stream", "tape", "--interval", "5min", "--name", "up")
    assert file(team, "up") == {
        "name": "up",
        "stream": "tape",
        "output": {"device": "cpu", "models": ["old"], "shadow": []},
        "parameters": {"ticker": None, "interval": "5minute"},
        "alerts": {},
    }
    lit("new", "--name", "up", "--shadow")
    assert file(team, "up")["output"]["shadow"] == ["new"]
    lit("promote", "up", "new")
    assert file(team, "up")["output"] == {"device": "cpu", "models": ["new"], "shadow": ["old"]}
    assert json.loads(lit("list", "--json"))[0]["name"] == "up"
    assert "(old)" in lit("list")


def test_one_is_made_empty_then_its_models_rules_and_symbols_are_chosen(team: Workspace) -> None:
    assert "no models yet" in lit("create", "up", "--stream", "tape")
    lit("set", "up", "--model", "old", "--model", "new", "--alert", "drift=0.25", "--alert", "webhook=http://x/y")
    lit("set", "up", "--ticker", "IBM.N, BAC.N", "--alert", "drift=")
    found = file(team, "up")
    assert found["output"]["models"] == ["old", "new"] and found["alerts"] == {"webhook": "http://x/y"}
    assert found["parameters"]["ticker"] == "IBM.N, BAC.N"
    lit("set", "up", "--no-models")
    assert file(team, "up")["output"]["models"] == []
    lit("remove", "up")
    assert not (team.root / "preview/up.json").exists()


def test_an_item_that_is_deployed_again_keeps_its_place_and_the_champion_stays(team: Workspace) -> None:
    lit("create", "up", "--stream", "tape", "--interval", "5minute", "--model", "old", "--model", "new")
    lit("old", "--name", "up")
    lit("old", "--name", "up", "--stream", "tape", "--interval", "5min")
    assert file(team, "up")["output"]["models"] == ["old", "new"]
    with pytest.raises(UserError, match="serves all symbols, with all its models: `lit deploy set 'up' --ticker`"):
        lit("old", "--name", "up", "--ticker", "IBM")
    with pytest.raises(UserError, match="bars of 5minute"):
        lit("old", "--name", "up", "--interval", "1minute")


def test_a_file_that_is_no_deployment_hides_none_of_the_others(team: Workspace) -> None:
    lit("create", "up", "--stream", "tape")
    (team.root / "preview/broken.json").write_text('{"name": 5}')
    shown = lit("list")
    assert "up " in shown and "broken.json is not a deployment" in shown
    assert [one["name"] for one in json.loads(lit("list", "--json").partition("\n")[2])] == ["up"]


def test_mistakes_are_told_in_a_sentence_and_leave_no_file(team: Workspace) -> None:
    lit("create", "up", "--stream", "tape")
    for words, said in (
        (["older", "--stream", "tape"], "'older' does not exist"),
        (["old"], "--stream"),
        (["old", "--stream", "none"], "'none'"),
        (["old", "--stream", "tape", "--name", "up", "--interval", "1hour"], "1minute of 'tape'"),
        (["create", "up", "--stream", "tape"], "exists"),
        (["set", "up", "--model", "old", "--shadow", "old"], "twice"),
        (["set", "up", "--alert", "drift"], "'drift'"),
        (["set", "up", "--alert", "drifts=1"], "drifts"),
        (["promote", "up", "old"], "no model 'old'"),
        (["set", "none"], "'none'"),
        (["create", "x.shadow", "--stream", "tape"], "shadow"),
        (["create", "x", "--stream", "tape", "--device", "tpu:9"], "'tpu:9' is not on this machine"),
        (["set", "up", "--device", "tpu:9"], "'tpu:9' is not on this machine"),
    ):
        with pytest.raises(UserError, match=said):
            lit(*words)
    assert file(team, "up")["output"]["models"] == []
    with pytest.raises(FaultError, match="does not run"):
        lit("show", "up")


@pytest.fixture
def server(kafka: str, team: Workspace) -> Iterator[tuple[str, dict[str, str], Path]]:
    topics.create_topics(kafka, topics.ticks("demo", "tape"))
    with running(Settings(data=team.data, kafka=kafka, port=0), supervise=False) as found:
        yield found.url, {"Authorization": f"Bearer {found.token}"}, team.data / ".lit" / "logs"


@pytest.mark.kafka
def test_a_running_server_shows_a_deployment_and_follows_its_log(
    team: Workspace, server: tuple[str, dict[str, str], Path]
) -> None:
    url, bearer, logs = server
    lit("old", "--stream", "tape", "--name", "up")
    shown = lit("show", "up")
    assert "stopped" in shown and "validation" in shown and "0.600 (base 0.500)" in shown
    with pytest.raises(UserError, match="has not run"):
        lit("log", "up")
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "demo.deployment.up.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert lit("log", "up", "--lines", "2").splitlines() == ["line 98", "line 99"]
    with pytest.raises(UserError, match="no worker"):
        lit("restart", "up")
    assert "stopped" in lit("list")
    api, up = f"{url}/api/teams/demo/deployments", file(team, "up")
    for output, said in (
        ({"models": ["old", "nosuch"]}, "vault item 'nosuch' does not exist"),
        ({"models": ["old"], "device": "tpu:9"}, "'tpu:9' is not on this machine"),
        ({"models": ["old"], "device": "CPU"}, None),
    ):
        answer = httpx.put(f"{api}/up", json={**up, "output": output}, headers=bearer, timeout=30)
        assert answer.status_code == (400 if said else 200) and (said or '"CPU"') in answer.text

    seen: list[str] = []

    def follow() -> None:
        address = f"{url}/api/teams/demo/deployments/up/log/live?lines=1"
        with httpx.stream("GET", address, headers=bearer, timeout=60) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    seen.append(line.removeprefix("data: "))
                if len(seen) == 4:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not seen and time.monotonic() < deadline:
        time.sleep(0.05)
    with log.open("a") as out:
        out.write("half a ")
        out.flush()
        time.sleep(0.5)
        out.write("line\n 10%\r 90%\rwhole\n")
        out.flush()
    while len(seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    log.write_text("anew\n")  # it was rotated
    thread.join(30)
    assert seen == ["line 99", "half a line", "whole", "anew"]


@pytest.mark.kafka
def test_the_command_follows_a_log_until_it_is_interrupted(
    team: Workspace, server: tuple[str, dict[str, str], Path]
) -> None:
    command = [sys.executable, "-m", "lit.cli", "deploy", "log", "up", "-f", "--lines", "1"]
    environment = {**os.environ, "LIT_DATA": str(team.data)}
    lit("old", "--stream", "tape", "--name", "up")
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "has not run" in refused.stderr and "Traceback" not in refused.stderr
    logs = server[2]
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "demo.deployment.up.log"
    log.write_text("first\nsecond\n")
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "second\n"
        with log.open("a") as out:
            out.write("data: é, [red]as it is[/red]\n\nlast\n")
        assert [process.stdout.readline() for _ in range(3)] == ["data: é, [red]as it is[/red]\n", "\n", "last\n"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert errors == "" and process.returncode in (0, 130)


@pytest.mark.kafka
def test_the_name_of_a_removed_deployment_cannot_be_used_for_other_bars(kafka: str) -> None:
    first = DeploymentConfig(kafka, "claims", "up", "tape", Interval.parse("1minute"))
    first.create_topics()
    first.create_topics()  # again after a restart
    for other in (replace(first, stream="band"), replace(first, interval=Interval.parse("5minute"))):
        with pytest.raises(UserError, match="earlier deployment 'up' predicted at bars of 1minute of 'tape'"):
            other.create_topics()
    replace(first, name="down", stream="band").create_topics()


def test_an_error_of_a_process_that_works_again_is_told_as_the_past() -> None:
    for status, error, said in (
        ("running", None, None),
        ("failed", "no model", "no model"),
        ("running", "signal 9", "it works again; before it ended with: signal 9"),
        ("running", "the change is not in effect: no model", "the change is not in effect: no model"),
    ):
        assert deploy_view._ended(status, error) == said


def test_a_deployment_of_bars_that_do_not_exist_takes_no_other_bars_from_its_stream() -> None:
    made = {
        name: DeploymentFile(name=name, stream="tape", parameters=DeploymentParameters(interval=text))
        for name, text in (("a", "5parsec"), ("b", "5min"))
    }
    assert intervals_of("tape", None, made) == ["1minute", "5minute"]


def test_a_deployment_of_a_stream_that_does_not_exist_ends_with_a_sentence(team: Workspace, kafka: str) -> None:
    said = {"name": "lost", "stream": "nowhere", "output": {"models": ["old"]}}
    (team.folder("preview") / "lost.json").write_text(json.dumps(said))
    command = [sys.executable, "-m", "lit.cli", "worker", "deployment", "--name", "lost"]
    environment = {**os.environ, "LIT_KAFKA": kafka}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2 and "no stream 'nowhere'" in done.stderr and "Traceback" not in done.stderr


def test_measures_are_told_beside_what_no_model_would_get() -> None:
    numbers = {"rmse": 0.0123, "base_rmse": 0.02, "r2": 0.6, "sign_accuracy": None}
    since = {"scored": 7, "accuracy": None, "brier": None, "regression": numbers}
    assert deploy_view._measures(since) == "7 scored, rmse 0.0123 (base 0.02), r2 0.6"
    classes = {"scored": 7, "accuracy": 0.6, "base_rate_accuracy": 0.5, "auc": None, "regression": None}
    assert deploy_view._measures(classes) == "7 scored, accuracy 0.600 (base 0.500)"
    assert deploy_view._measures({"brier": 0.2, "base_brier": 0.25}) == "brier 0.200 (base 0.250)"
