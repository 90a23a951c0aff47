"""lit build: files through Kafka to an asset; the same digests for any number of workers; failures are sentences."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import psutil
import pytest

from lit.features.bars import BAR_COLUMNS
from lit.features.dataset import DatasetAdapter
from lit.features.library import load_features, save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

PATHS = [str(SAMPLES / f"{symbol}_20131007.csv.gz") for symbol in ("BAC.N", "IBM.N")]
FEATURES = ["bars", "up", "per_minute"]


@pytest.fixture
def team(workspace: Workspace) -> Workspace:
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    return workspace


def lit(kafka: str, workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lit.cli", *arguments],
        env={**os.environ, "LIT_DATA": str(workspace.data), "LIT_KAFKA": kafka},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.kafka
def test_a_build_is_the_same_for_one_and_two_workers_and_recomputes_from_the_files(kafka: str, team: Workspace) -> None:
    save_schema(team, Schema("small", PATHS, FEATURES, split=Split("random", 0.3, 7)))
    summaries = []
    for workers in ("1", "2"):
        shutil.rmtree(team.path("build"), ignore_errors=True)
        shutil.rmtree(team.path("assets"), ignore_errors=True)
        done = lit(kafka, team, "build", "small", "--workers", workers, "--json")
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    assert summaries[0]["parts"] == summaries[1]["parts"]
    assert summaries[0]["ticks"] == sum(len(real_ticks(s, 1)) for s in ("BAC.N", "IBM.N"))
    logs = team.path("logs", "2")
    assert (logs / "status.txt").read_text() == "complete\n"
    line = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ INFO data_worker - process_chunk: "
    for text in (
        r"\d+ samples at resolution of 1",
        r"Writing to .*/build/small/tmp/data/small_0_88171\.h5 mode w \.\.\.",
        r"Computed fields: \['per_minute', 'bars', 'up'\] Dependencies: \[\]",
    ):
        assert re.search(f"^{line}{text}$", (logs / "workflow.log").read_text(), re.MULTILINE)
    pids = json.loads((logs / "pids.json").read_text())
    assert sorted(entry["role"] for entry in pids.values()) == ["build", "data_worker", "data_worker"]
    again = lit(kafka, team, "build", "small", "--json")
    assert json.loads(again.stdout)["unchanged"] and json.loads(again.stdout)["parts"] == summaries[0]["parts"]
    assert set(json.loads((logs / "small.json").read_text())["features"]) == set(FEATURES)

    adapter = DatasetAdapter.of_blocks([real_ticks("BAC.N", 1), real_ticks("IBM.N", 1)])
    bars, up, _ = load_features(team, FEATURES)
    with h5py.File(team.path("assets", "small", "queue") / "train.h5") as file:
        assert list(file["bars"].attrs["columns"]) == list(BAR_COLUMNS)
        assert file["bars"].dtype == np.float32 and (np.diff(file["index"][:]) > 0).all()
        for row in range(0, len(file["index"]), 97):
            index = int(file["index"][row])
            packet = adapter[index]
            assert (packet["timestamp"], packet["symbol"]) == (file["timestamp"][row], file["symbol"].asstr()[row])
            for feature in (bars, up):
                value = feature.compute(adapter, index, {})
                assert value is not None
                assert file[feature.name][row].tobytes() == value.astype(np.float32).tobytes()
    verified = lit(kafka, team, "verify", "dataset", "small", "--samples", "40")
    assert verified.returncode == 0 and "80 samples compared, 0 differ" in verified.stdout, verified.stderr
    with h5py.File(team.path("assets", "small", "queue") / "test.h5", "r+") as file:
        file["bars"][:, 3, 3] += 0.01
    verified = lit(kafka, team, "verify", "dataset", "small", "--samples", "5")
    assert verified.returncode == 1 and "bars differs" in verified.stdout


def script(team: Workspace, name: str, body: str) -> None:
    """Save a feature whose script has a body; `index` is the tick, the body begins at line 10."""
    team.folder("scripts").joinpath(f"{name}.py").write_text(
        '"""Trouble.\n\nReturns\n-------\n[ x ]\n"""\nimport logging, time\n\n'
        f"def feature(adapter, index, params={{}}, other_features={{}}):\n    {body}\n    return [1.0]\n"
    )
    save_feature(team, name, name, {})


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("body", "options", "said"),
    [
        ("return [1.0 / (0 if index > 20_000 else 1)]", (), r"sample 20\d\d\d \(BAC.N .*'trouble', line 10: Zero"),
        ("time.sleep(100 * (index > 20_000))", ("--script-seconds", "2"), "'trouble', line 10 takes longer than 2 s"),
        ("return [float(len([b'x' * (1 << 32)]))]", ("--memory-mb", "1500"), "'trouble', line 10: MemoryError"),
    ],
)
def test_a_script_that_fails_hangs_or_eats_memory_is_named_with_its_line(
    kafka: str, team: Workspace, body: str, options: tuple[str, ...], said: str
) -> None:
    script(team, "trouble", body)
    save_schema(team, Schema("broken", PATHS[:1], ["per_minute", "trouble"]))
    done = lit(kafka, team, "build", "broken", *options)
    assert done.returncode == 2, done.stderr
    assert re.search(said, done.stderr) and "Traceback" not in done.stderr, done.stderr
    assert team.path("logs", "1").joinpath("status.txt").read_text().startswith("failed: ")


@pytest.mark.kafka
@pytest.mark.fault
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_build_that_was_stopped_or_killed_is_resumed_to_the_same_dataset(
    kafka: str, team: Workspace, how: str
) -> None:
    script(team, "slow", "logging.info('at %d', index); time.sleep(0.02)")
    save_schema(team, Schema("small", PATHS, ["per_minute", "slow"], split=Split("random", 0.3, 7)))
    command = [sys.executable, "-m", "lit.cli", "build", "small"]
    env = {**os.environ, "LIT_DATA": str(team.data), "LIT_KAFKA": kafka}
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chunks = team.path("build", "small") / "tmp" / "data"
    try:
        deadline = time.monotonic() + 120
        while not list(chunks.glob("*.h5")) and time.monotonic() < deadline:
            assert first.poll() is None, team.path("logs", "1", "workflow.log").read_text()[-2000:]
            time.sleep(0.02)
        if how == "stop":
            assert lit(kafka, team, "build", "stop", "small").returncode == 0
            assert first.wait(60) != 0
        else:
            first.kill()
            first.wait()
            pids = json.loads(team.path("logs", "1", "pids.json").read_text())
            workers = [int(pid) for pid, entry in pids.items() if entry["role"] == "data_worker"]
            deadline = time.monotonic() + 60
            while any(map(psutil.pid_exists, workers)):
                assert time.monotonic() < deadline, "a worker outlives its build"
                time.sleep(0.1)
    finally:
        first.kill()
        first.wait()
    (view,) = json.loads(lit(kafka, team, "build", "list", "--json").stdout)
    assert (view["schema"], view["status"]) == ("small", {"stop": "stopped", "kill": "crashed"}[how])
    kept = {path.name: path.stat().st_ino for path in chunks.glob("*.h5")}
    assert kept
    script(team, "slow", "return [2.0]")  # a build goes on with what it began with
    resumed = lit(kafka, team, "build", "resume", "1", "--json")
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads(resumed.stdout)
    assert summary["reused"] == len(kept) and {n: (chunks / n).stat().st_ino for n in kept} == kept
    with h5py.File(team.path("assets", "small", "queue") / "train.h5") as file:
        assert (file["slow"][:] == 1.0).all()
    assert " INFO root - feature: at " in team.path("logs", "1", "workflow.log").read_text()
    assert lit(kafka, team, "build", "resume", "1").returncode == 2


@pytest.mark.kafka
def test_an_unknown_schema_or_file_is_a_users_mistake(kafka: str, team: Workspace) -> None:
    done = lit(kafka, team, "build", "nonesuch")
    assert done.returncode == 2 and "no schema 'nonesuch'" in done.stderr
    save_schema(team, Schema("lost", ["gone.csv.gz"], ["per_minute"]))
    done = lit(kafka, team, "build", "lost")
    assert done.returncode == 2 and "gone.csv.gz" in done.stderr
