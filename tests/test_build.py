"""lit build: files through Kafka to an asset; the same digests for any number of workers; failures are sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import numpy as np
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
        done = lit(kafka, team, "build", "small", "--workers", workers, "--json")
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    assert summaries[0]["parts"] == summaries[1]["parts"]
    assert summaries[0]["ticks"] == sum(len(real_ticks(s, 1)) for s in ("BAC.N", "IBM.N"))
    assert not team.path("build", "small").exists()
    logs = team.path("logs", "2")
    assert (logs / "status.txt").read_text() == "complete\n"
    assert "Computed fields: ['per_minute', 'bars', 'up'] Dependencies: []" in (logs / "workflow.log").read_text()
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


@pytest.mark.kafka
def test_a_script_that_fails_in_a_build_is_named_with_its_line(kafka: str, team: Workspace) -> None:
    team.folder("scripts").joinpath("breaks.py").write_text(
        '"""Breaks late.\n\nReturns\n-------\n[ x ]\n"""\n\n\n'
        "def feature(adapter, index, params={}, other_features={}):\n"
        "    return [1.0 / (0 if index > 20_000 else 1)]\n"
    )
    save_feature(team, "breaks", "breaks", {})
    save_schema(team, Schema("broken", PATHS[:1], ["per_minute", "breaks"]))
    done = lit(kafka, team, "build", "broken")
    assert done.returncode == 2
    assert "breaks" in done.stderr and "line 10" in done.stderr and "Traceback" not in done.stderr
    assert team.path("logs", "1").joinpath("status.txt").read_text().startswith("failed: ")


@pytest.mark.kafka
def test_an_unknown_schema_or_file_is_a_users_mistake(kafka: str, team: Workspace) -> None:
    done = lit(kafka, team, "build", "nonesuch")
    assert done.returncode == 2 and "no schema 'nonesuch'" in done.stderr
    save_schema(team, Schema("lost", ["gone.csv.gz"], ["per_minute"]))
    done = lit(kafka, team, "build", "lost")
    assert done.returncode == 2 and "gone.csv.gz" in done.stderr
