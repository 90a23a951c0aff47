"""A small asset whose label can be learnt, and a canvas for it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset, asset_path
from lit.trainer.loop import Data
from lit.trainer.processfolder import ProcessFolder
from lit.trainer.runfolder import RunFolder
from lit.trainer.vault import file_digest

BARS = ["open", "high", "low", "close", "trades", "volume", "mean_trade_size", "max_trade_size"]


def write_asset(workspace: Workspace, schema: str = "small", train: int = 600, test: int = 200) -> None:
    """Write queue/train.h5 and test.h5: prices near 100, volumes near 1e5; the label says if volume rose."""
    folder = workspace.folder("assets", schema, "queue")
    for seed, (part, count) in enumerate((("train", train), ("test", test)), 1):
        rng = np.random.default_rng(seed)
        bars = np.empty((count, 20, 8), np.float32)
        bars[..., :4] = 100 + rng.normal(0, 0.5, (count, 20, 4)).cumsum(axis=1)
        bars[..., 4:] = rng.lognormal(11, 0.5, (count, 20, 4))
        atr = bars[..., 1:2] - bars[..., 2:3]
        label = (bars[:, -1, 5] > bars[:, :, 5].mean(axis=1)).astype(np.float32)[:, None]
        write_part(folder / f"{part}.h5", {"bars": (bars, BARS), "atr": (atr, ["atr"]), "up": (label, ["label"])})


def write_part(path: Path, features: dict[str, tuple[Any, list[str]]], digest: str = "") -> None:
    with h5py.File(path, "w") as file:
        count = 0
        for name, (values, columns) in features.items():
            count = len(values)
            file.create_dataset(name, data=values).attrs["columns"] = columns
        file["index"] = np.arange(count)
        file["timestamp"] = 1_460_000_000_000_000_000 + np.arange(count) * 60_000_000_000
        file.create_dataset("symbol", data=["IBM"] * count, dtype=h5py.string_dtype())
        file.attrs["schema"] = json.dumps({"name": path.parent.name, "features": list(features)})
        file.attrs["digest"] = digest or f"sha256:{path.stem}"


def canvas(**hyper: Any) -> dict[str, Any]:
    return {
        "name": "up",
        "settings": {"project": "volume", "asset": "small"},
        "nodes": [
            {"id": "bars", "component": "Input", "properties": {"feature": "bars"}},
            {"id": "atr", "component": "Input", "properties": {"feature": "atr", "scale": "window"}},
            {"id": "dense", "component": "Dense", "properties": {"layers": "32, 16", "dropout": 0.1}},
            {"id": "out", "component": "Output", "properties": {"feature": "up"}},
            {"id": "globals", "component": "Globals", "properties": {"epochs": 4, "learning_rate": 0.01, **hyper}},
        ],
        "edges": [
            {"source": "bars", "target": "dense"},
            {"source": "atr", "target": "dense"},
            {"source": "dense", "target": "out"},
        ],
    }


def untrained_run(workspace: Workspace, design: dict[str, Any]) -> RunFolder:
    """Make the folder of a run whose only epoch saved the model as it was built, without a process."""
    from lit.trainer.backend import seed_everything
    from lit.trainer.canvas import parse_canvas
    from lit.trainer.compiler import compile_canvas
    from lit.trainer.component import load_components
    from lit.trainer.run import describe
    from lit.trainer.runfolder import save_model

    components = load_components(workspace)
    sources = {node["component"]: components[node["component"]].source for node in design["nodes"]}
    folder = RunFolder.create(workspace, "volume", {"canvas": design, "components": sources})
    with Asset(asset_path(workspace, "small")[0]) as train:
        seed_everything(1)
        compiled = compile_canvas(parse_canvas(design), components, train.features)
        describe(folder, compiled, Data(train, train), promoted=False)
    save_model(compiled.model, folder, 1)
    folder.write_perf([{"epoch": 1, "loss": 0.5, "val_loss": 0.5}])
    folder.set_session(status="finished", epoch=1, best_epoch=1)
    return folder


def train_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs take place in the test's own process: the same program, without seconds of start a run."""
    from lit.trainer import run

    real = ProcessFolder.spawn

    def here(folder: ProcessFolder, module: str, *arguments: str) -> None:
        if module != "lit.trainer.run":
            return real(folder, module, *arguments)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
        run.main(list(arguments))
        for number, handler in handlers.items():
            signal.signal(number, handler)
        return None

    monkeypatch.setattr(ProcessFolder, "spawn", here)


def add_item(workspace: Workspace, name: str) -> None:
    """Put what looks like a trained model into the vault; it cannot be opened."""
    folder = workspace.folder("vault", name)
    (folder / "model.h5").write_bytes(name.encode())
    spec = {"name": "bars", "shape": [20, 8], "columns": []}
    record = {
        "project": "p", "run": 1, "epoch": 1, "digest": file_digest(folder / "model.h5"), "inputs": [spec],
        "label": {**spec, "name": "up"}, "tags": [],
        "metrics": {"epoch": 1, "val_accuracy": 0.6, "val_base_accuracy": 0.5},
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(record))
