"""Workers of a build that were started elsewhere share it, and one may die; native code that hangs is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lit.features.library import save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.processors.build import build
from lit.processors.workers import Limits, read_reports
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES
from tests.test_build import PATHS, script


def until(seen: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while not seen():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


@pytest.mark.kafka
@pytest.mark.fault
def test_workers_from_elsewhere_share_a_build_and_one_is_killed(kafka: str, tmp_path: Path) -> None:
    team = Workspace(tmp_path / "data", "machines")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    script(team, "slow", "time.sleep(0.005)")
    save_schema(team, Schema("small", PATHS, ["per_minute", "slow"], split=Split("random", 0.3, 7)))
    whole = build(team, "small", kafka)
    shutil.rmtree(team.path("build", "small"))
    shutil.rmtree(team.path("assets", "small"))

    env = {**os.environ, "LIT_DATA": str(team.data), "LIT_KAFKA": kafka}
    lit = [sys.executable, "-m", "lit.cli"]
    log = tmp_path / "log"
    logs = team.path("logs", "2")
    workers: dict[int, subprocess.Popen[bytes]] = {}
    with log.open("ab") as out:
        command = [*lit, "build", "small", "--team", "machines", "--workers", "0", "--json"]
        driver = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=out)
        try:
            until((logs / "job.json").exists, driver, log)
            for name in ("one", "other"):
                (tmp_path / name).mkdir()
                command = [*lit, "worker", "features", "--team", "machines", "--build", "2"]
                worker = subprocess.Popen(command, env=env, cwd=tmp_path / name, stdout=out, stderr=out)
                workers[worker.pid] = worker
            busy: list[int] = []

            def at_work() -> bool:
                busy[:] = [one.pid for one in read_reports(logs, 1) if sum(s.samples for s in one.symbols.values())]
                return bool(busy)

            until(at_work, driver, log)
            workers[busy[0]].kill()
            said, _ = driver.communicate(timeout=120)
        finally:
            for process in (driver, *workers.values()):
                process.kill()
                process.wait()
    assert driver.returncode == 0, log.read_text()[-2000:]
    assert json.loads(said)["parts"] == whole.parts
    assert {entry["role"] for entry in json.loads((logs / "pids.json").read_text()).values()} == {"build"}


@pytest.mark.kafka
@pytest.mark.parametrize("seconds", ["1000", "1000 * (index > 20_000)"], ids=["at once", "later"])
def test_native_code_that_never_returns_is_ended_and_its_feature_named(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setattr("lit.processors.workers.SILENT_SECONDS", 7.0)
    team = Workspace(tmp_path, "stuck")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    script(team, "stuck", f"import ctypes; ctypes.PyDLL(None).sleep({seconds})")
    path = str(SAMPLES / "IBM.N_20131007.csv.gz")
    save_schema(team, Schema("small", [path], ["per_minute", "stuck"]))
    with pytest.raises(UserError, match="feature 'stuck': script 'stuck', line 10 does not return"):
        build(team, "small", kafka, limits=Limits(script_seconds=1.0))
