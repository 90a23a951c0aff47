"""make demo ARGS=--once: the whole path on real ticks, headless."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lit.demo import FEATURES
from lit.serving.opening import load_deployment
from lit.streams.workspace import Workspace
from lit.trainer.vault import load


@pytest.mark.slow
@pytest.mark.kafka
def test_the_demo_goes_from_tick_files_to_predictions_and_ends_by_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lit.cli", "demo", "--once", "--predictions", "8", "--epochs", "2"],
        env={**os.environ, "LIT_DATA": str(tmp_path), "LIT_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    assert "700,015 through Kafka to ClickHouse" in done.stdout
    assert re.search(r"samples +3,793 \(2,725 train, 1,068 test\)", done.stdout)
    assert len(re.findall(r"p\(volatility up\) = 0\.\d{3}", done.stdout)) >= 8
    workspace = Workspace(tmp_path, "demo")
    run = workspace.path("train", "volatility", "1")
    files = {path.name for path in run.iterdir()}
    assert {
        "definition.json",
        "description.txt",
        "features.json",
        "log.txt",
        "perf.csv",
        "session.txt",
        "saved_models",
    } <= files
    assert len((run / "perf.csv").read_text().strip().splitlines()) == 3
    kept = load(workspace, "volatility-1")
    assert kept.epoch in (1, 2) and set(kept.lineage["asset"]["schema"]["features"]) == set(FEATURES)
    assert load_deployment(workspace, "volatility-1").output.models == ["volatility-1"]


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "lit.cli", "demo", "--once"],
            env={**os.environ, "LIT_DATA": str(tmp_path), "LIT_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2 and str(port) in done.stderr and "Traceback" not in done.stderr
