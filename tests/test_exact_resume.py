"""A training that is stopped between any two steps and goes on from its checkpoint ends with the very same weights."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from lit.streams.errors import FaultError
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset, asset_path
from lit.trainer.backend import seed_everything
from lit.trainer.canvas import parse_canvas
from lit.trainer.compiler import compile_canvas
from lit.trainer.component import load_components
from lit.trainer.experiments import resume, start, wait
from lit.trainer.hyper import Hyper
from lit.trainer.loop import Data, Training
from tests.training import canvas, write_asset


def recurrent(**hyper: Any) -> dict[str, Any]:
    """Return a canvas of all that has a state of its own: recurrent layers, dropout, batch statistics, momentum."""
    found = canvas(**hyper)
    layers: list[tuple[str, dict[str, Any]]] = [
        ("Dropout", {"rate": 0.3}),
        ("LSTM", {"layers": "5", "rows": True, "dropout": 0.2}),
        ("GRU", {"layers": "4", "dropout": 0.2}),
        ("Normalise", {"by": "batch"}),
    ]
    found["nodes"] = [found["nodes"][0], *found["nodes"][3:]]
    names = [f"n{number}" for number in range(len(layers))]
    found["nodes"] += [
        {"id": name, "component": kind, "properties": properties}
        for name, (kind, properties) in zip(names, layers, strict=True)
    ]
    chain = ["bars", *names, "out"]
    found["edges"] = [{"source": a, "target": b} for a, b in itertools.pairwise(chain)]
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("data"), "contoso")
    write_asset(found, train=200, test=40)
    return found


def trained(workspace: Workspace, checkpoint: Path, stops: list[int], design: dict[str, Any]) -> tuple[Any, Any]:
    """Train to the end, interrupted after the given numbers of steps, each time anew from the checkpoint."""
    components, perf = load_components(workspace), []
    with Asset(asset_path(workspace, "small")[0]) as train, Asset(asset_path(workspace, "small", "test")[0]) as test:
        for sitting, steps in enumerate([*stops, None]):
            seed_everything(7 + sitting)  # what is drawn on the way to a checkpoint must not matter
            compiled = compile_canvas(parse_canvas(design), components, train.features)
            training = Training(compiled, Data(train, test), Hyper.of(compiled.settings), checkpoint, perf, "out")
            perf = [dict(row) for row in training.perf]
            asked = itertools.count(1)
            done = training.run(perf.append, lambda steps=steps, asked=asked: bool(steps) and next(asked) >= steps)
            assert done == (steps is None)
    weights = [variable.numpy().tobytes() for variable in compiled.model.variables]
    return weights, [{k: v for k, v in row.items() if k != "seconds"} for row in perf]


def test_stopped_at_any_step_gives_the_weights_of_an_undisturbed_training(workspace: Workspace, tmp_path: Path) -> None:
    design = recurrent(epochs=3, schedule="cosine", batch_size=64, clip_norm=1)
    weights, perf = trained(workspace, tmp_path / "straight.npz", [], design)
    cut, rows = trained(workspace, tmp_path / "cut.npz", [2, 4], design)  # within the first and at the second's end
    assert rows == perf and len({row["loss"] for row in perf}) == 3
    assert cut == weights


@pytest.mark.fault
def test_a_killed_run_is_failed_with_its_last_log_lines_and_goes_on(workspace: Workspace) -> None:
    folder = start(workspace, canvas(epochs=500))
    deadline = time.monotonic() + 100
    while len(folder.perf()) < 2:
        assert time.monotonic() < deadline and folder.status() in ("queued", "running")
        time.sleep(0.02)
    os.kill(folder.session()["pid"], signal.SIGKILL)
    with pytest.raises(FaultError, match=r"its process ended; the log says: .*val_loss"):
        wait(folder)
    assert folder.status() == "failed"
    before = folder.perf()
    resume(folder, epochs=len(before) + 1)
    assert wait(folder).epochs == len(before) + 1
    assert folder.perf()[: len(before) - 1] == before[:-1]  # the last epoch may have come after its checkpoint
