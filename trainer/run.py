"""The process of a run: `python -m lit.trainer.run --data … --team … --project … --run …`.

It waits for its device, trains, and keeps the run's folder. SIGTERM stops it and SIGUSR1 pauses it, both between two
steps with a checkpoint; what is killed outright goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from lit.streams.errors import LitError
from lit.streams.workspace import Workspace
from lit.trainer.announce import Announcer
from lit.trainer.canvas import node_of_role, parse_canvas
from lit.trainer.component import read_component
from lit.trainer.devicequeue import turn
from lit.trainer.runfolder import RunFolder, save_model


class _Interruption:
    """What a signal asked for: empty, `stopped` or `paused`."""

    def __init__(self) -> None:
        self.status = ""
        signal.signal(signal.SIGTERM, lambda *_: self._ask("stopped"))
        signal.signal(signal.SIGINT, lambda *_: self._ask("stopped"))
        signal.signal(signal.SIGUSR1, lambda *_: self._ask("paused"))

    def _ask(self, status: str) -> None:
        self.status = status

    def __call__(self) -> bool:
        return bool(self.status)


def main(arguments: list[str] | None = None) -> int:
    """Run a training that has a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m lit.trainer.run")
    for name in ("data", "team", "project"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--run", type=int, required=True)
    parser.add_argument("--kafka", help="where events go; unset: to the run's folder alone")
    given = parser.parse_args(arguments)
    folder = RunFolder.find(Workspace(Path(given.data), given.team), given.project, given.run)
    announcer = Announcer(given.kafka, given.team)
    try:
        return _run(replace(folder, announce=announcer))
    finally:
        announcer.close()


def _run(folder: RunFolder) -> int:
    asked = _Interruption()
    device = str(folder.read_json("definition.json").get("device", "cpu"))
    process = psutil.Process()
    folder.set_session(status="queued", pid=os.getpid(), create_time=process.create_time(), device=device, error="")
    folder.emit("queued", device=device)
    try:
        with turn(folder.workspace.data, device, f"{folder.workspace.team}/{folder.name}", asked) as mine:
            done = mine and _train(folder, device, asked)
    except LitError as error:
        return _failed(folder, str(error), error.exit_code)
    except Exception as error:
        folder.log(traceback.format_exc())
        return _failed(folder, f"{type(error).__name__}: {error}", 1)
    _end(folder, "finished" if done else asked.status)
    return 0


def _train(folder: RunFolder, device: str, asked: _Interruption) -> bool:
    folder.set_session(status="running")
    folder.log(f"training on {device}, process {os.getpid()}")
    from lit.trainer.asset import open_parts
    from lit.trainer.backend import load, seed_everything
    from lit.trainer.compiler import compile_canvas
    from lit.trainer.folds import Fold, rows_of
    from lit.trainer.hyper import Hyper, kept_epochs
    from lit.trainer.loop import Data, Row, Training

    load(device)
    definition = folder.read_json("definition.json")
    canvas = parse_canvas(definition["canvas"])
    components = {name: read_component(name, source) for name, source in definition["components"].items()}
    with ExitStack() as stack:
        train, test, promoted = open_parts(folder.workspace, canvas.settings["asset"])
        stack.enter_context(train)
        stack.enter_context(test)
        if not promoted:
            folder.log("the asset has not been promoted: it is read from its queue")
        # Global random numbers are only drawn while the model is built: its layers then keep their own state.
        seed_everything(_seed(definition, components))
        compiled = compile_canvas(canvas, components, train.features)
        hyper = Hyper.of(compiled.settings, definition.get("epochs"))
        horizon = partial(_horizon, folder, train.schema, compiled.label.name)
        data = Data(train, test, horizon=horizon)
        if definition.get("fold"):
            data = Data(train, train, *rows_of(Fold(**definition["fold"]), train.read("timestamp")), horizon)
        describe(folder, compiled, data, promoted)
        output = node_of_role(canvas, components, "output")
        checkpoint = folder.state / "checkpoint.npz"
        training = Training(compiled, data, hyper, checkpoint, folder.perf(), output.id if output else "")
        folder.write_perf(training.perf)
        folder.emit("running", epoch=training.epoch, epochs=hyper.epochs)

        def on_epoch(row: Row) -> None:
            epoch = int(row["epoch"])
            save_model(training.model, folder, epoch)
            perf = [*folder.perf()[: epoch - 1], row]
            folder.write_perf(perf)
            if training.reliability:
                bins = folder.read_json("calibration.json") | {str(epoch): training.reliability}
                folder.write_json("calibration.json", bins)
            kept = kept_epochs(hyper.keep, perf, hyper)
            for old in perf:
                for suffix in ("h5", "keras") if int(old["epoch"]) not in kept else ():
                    folder.model(int(old["epoch"]), suffix).unlink(missing_ok=True)
            folder.log(" ".join(f"{name} {value:.6g}" for name, value in row.items()))
            best = hyper.best(perf)
            folder.set_session(epoch=epoch, best_epoch=int(best["epoch"]) if best else epoch)
            folder.emit("epoch", **row)

        return training.run(on_epoch, asked)


def _horizon(folder: RunFolder, schema: dict[str, Any], label: str) -> float | None:
    from lit.trainer.horizon import horizons_of

    try:
        found = horizons_of(schema).get(label)
    except (LitError, KeyError, TypeError) as error:  # an asset made by hand, or a script that does not run any more
        folder.log(f"how far {label} looks ahead is not known ({error})")
        found = None
    if found is None:
        folder.log(f"{label} is not compared with its last known value: when that is known is not known")
    return found


def _seed(definition: dict[str, Any], components: dict[str, Any]) -> int:
    for node in definition["canvas"]["nodes"]:
        if components[node["component"]].role == "globals":
            return int(node.get("properties", {}).get("seed") or 0)
    return 0


def describe(folder: RunFolder, compiled: Any, data: Any, promoted: bool) -> None:
    """Write features.json: what the model takes and predicts, the asset it is trained on, its nodes."""
    from lit.trainer.trust import own_layers

    def plain(spec: Any) -> dict[str, Any]:
        return {"name": spec.name, "shape": list(spec.shape), "columns": list(spec.columns)}

    folder.write_json(
        "features.json",
        {
            "inputs": [plain(spec) for spec in compiled.inputs],
            "label": plain(compiled.label),
            "asset": {
                "digest": data.train.digest,
                "promoted": promoted,
                "schema": data.train.schema,
                "samples": {
                    "train": len(data.train if data.train_rows is None else data.train_rows),
                    "test": len(data.validation if data.validation_rows is None else data.validation_rows),
                },
            },
            "own_layers": own_layers(compiled.model),
            "nodes": [
                {"node": n.node, "component": n.component, "shape": list(n.shape), "parameters": n.parameters}
                for n in compiled.nodes
            ],
        },
    )


def _failed(folder: RunFolder, text: str, code: int) -> int:
    folder.log(f"failed: {text}")
    folder.set_session(status="failed", error=text, exit_code=code)
    folder.emit("failed", error=text)
    return code


def _end(folder: RunFolder, status: str) -> None:
    folder.log(status)
    folder.set_session(status=status)
    folder.emit(status)


if __name__ == "__main__":
    import logging

    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras' note that .h5 is a legacy format
    sys.exit(main())
