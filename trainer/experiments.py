"""Experiments: start, follow, stop, pause and resume runs, each a process of its own that outlives its starter."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from lit.streams.errors import FaultError, UserError
from lit.streams.records import Event
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset, asset_path
from lit.trainer.backend import checked_device
from lit.trainer.canvas import Canvas, node_of_role, parse_canvas, problems
from lit.trainer.component import Component, load_components
from lit.trainer.folds import Fold, rows_of
from lit.trainer.processfolder import ENDED, Status
from lit.trainer.runfolder import RunFolder

_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What came of a run; `metrics` is the best epoch's row of perf.csv."""

    run: int
    status: Status
    epochs: int
    best_epoch: int
    metrics: dict[str, float] = field(default_factory=dict)


def start(
    workspace: Workspace,
    canvas: Canvas | Mapping[str, Any],
    *,
    project: str | None = None,
    device: str = "cpu",
    epochs: int | None = None,
    description: str = "",
    fold: Fold | None = None,
    sweep: Mapping[str, Any] | None = None,
    components: Mapping[str, Component] | None = None,
    kafka: str | None = None,
) -> RunFolder:
    """Check a canvas, make a run's folder and start its process; returns at once.

    Parameters
    ----------
    canvas
        The design; its `settings` name the asset and, unless given here, the project.
    device
        One of `backend.devices()`. Runs on one device go one after another.
    epochs
        Overrides the Globals node.
    fold
        Train and validate on these parts of the training samples, and leave the test samples alone.
    sweep
        If it is a trial of a sweep: the sweep's name, the trial's number and parameters, kept in definition.json.
    components
        Component sources to train with; unset: the team's as they are now.
    kafka
        Where the run's events are published too; unset: they are in its folder alone.

    Raises
    ------
    UserError
        If the canvas has problems (each names its node), or asset or device do not exist.
    """
    canvas = canvas if isinstance(canvas, Canvas) else parse_canvas(canvas)
    if project:
        canvas = msgspec.structs.replace(canvas, settings={**canvas.settings, "project": project})
    components = checked_canvas(workspace, canvas, fold, components)
    used = {node.component for node in canvas.nodes} | ({"Globals"} & components.keys())
    definition = {
        "canvas": msgspec.to_builtins(canvas),
        "components": {name: components[name].source for name in sorted(used)},
        "device": checked_device(device),
        "epochs": epochs,
        "fold": asdict(fold) if fold else None,
        **({"sweep": dict(sweep)} if sweep else {}),
    }
    folder = RunFolder.create(workspace, canvas.settings["project"], definition, description)
    _spawn(folder, kafka)
    return folder


def checked_canvas(
    workspace: Workspace, canvas: Canvas, fold: Fold | None = None, components: Mapping[str, Component] | None = None
) -> Mapping[str, Component]:
    """Return the given components, or the team's, if a canvas can be trained with them, as far as Keras is not needed.

    Raises
    ------
    UserError
        If not; each problem names its node.
    """
    asset = canvas.settings.get("asset")
    if not asset or not canvas.settings.get("project"):
        raise UserError(f"canvas {canvas.name!r} does not say its project and asset: fill in its settings")
    components = components or load_components(workspace)
    with Asset(asset_path(workspace, str(asset))[0]) as train:
        found = problems(canvas, components, train.features)
        if fold and not found:
            rows_of(fold, train.read("timestamp"))
    asset_path(workspace, str(asset), "test")
    if found:
        raise UserError(f"canvas {canvas.name!r}: " + "; ".join(str(problem) for problem in found))
    return components


def label_horizon(workspace: Workspace, canvas: Canvas) -> float:
    """Return how far the label that a canvas predicts looks ahead, in seconds, as its frozen script shows.

    Raises
    ------
    UserError
        If the canvas cannot be trained, or nobody can tell: bars that time does not make, an asset made by hand.
    """
    from lit.trainer.horizon import horizons_of

    components = checked_canvas(workspace, canvas)
    output = node_of_role(canvas, components, "output")
    assert output is not None
    label = str(components[output.component].values(output.properties)["feature"])
    with Asset(asset_path(workspace, str(canvas.settings["asset"]))[0]) as part:
        found = horizons_of(part.schema).get(label)
    if found is None:
        raise UserError(f"how far label {label!r} looks ahead is not known: say it with folds, as --horizon in seconds")
    return found


def train(
    workspace: Workspace,
    canvas: Canvas | Mapping[str, Any],
    *,
    project: str | None = None,
    device: str = "cpu",
    epochs: int | None = None,
    description: str = "",
    kafka: str | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> RunSummary:
    """Start a run and wait for its end; `on_epoch` gets each row of perf.csv, `on_event` each event.

    Raises
    ------
    UserError, FaultError
        If it cannot start, or fails: the sentence is the run's own.
    """
    options: dict[str, Any] = {"device": device, "epochs": epochs, "description": description, "kafka": kafka}
    folder = start(workspace, canvas, project=project, **options)
    return wait(folder, on_epoch=on_epoch, on_event=on_event)


def wait(
    folder: RunFolder,
    *,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> RunSummary:
    """Follow a run until it ends and sum it up; raises what made it fail."""
    for event in follow(folder):
        if on_event:
            on_event(event)
        if on_epoch and event.status == "epoch":
            on_epoch(event.detail)
    result = summary(folder)
    if result.status == "failed":
        kind = UserError if folder.session().get("exit_code") == UserError.exit_code else FaultError
        raise kind(f"run {folder.name} failed: {folder.why_failed()}")
    return result


def follow(folder: RunFolder) -> Iterator[Event]:
    """Yield the events of a run's present process as they come, until it ends."""
    path = folder.state / "events.jsonl"
    offset = int(folder.session().get("events_before", 0))
    rest = b""
    while True:
        ended = folder.status() in ENDED  # asked before reading, so that the last events are not missed
        if path.is_file():
            with path.open("rb") as stream:
                stream.seek(offset)
                data = stream.read()
            offset += len(data)
            *lines, rest = (rest + data).split(b"\n")
            yield from (msgspec.json.decode(line, type=Event) for line in lines)
        if ended:
            return
        time.sleep(_POLL_SECONDS)


def summary(folder: RunFolder) -> RunSummary:
    """Sum a run up from its folder, running or not."""
    perf, best = folder.perf(), int(folder.session().get("best_epoch", 0))
    row = next((row for row in perf if row["epoch"] == best), {})
    return RunSummary(folder.run, folder.status(), len(perf), best, row)


def stop(folder: RunFolder) -> None:
    """Stop a run between two steps; `resume` can continue it."""
    _signal(folder, signal.SIGTERM, "stop")


def pause(folder: RunFolder) -> None:
    """Pause a run between two steps and free its device; `resume` continues it."""
    if folder.is_program:
        raise UserError(f"run {folder.name} is of a program, which can't be paused: stop it instead")
    _signal(folder, signal.SIGUSR1, "pause")


def resume(
    folder: RunFolder, *, device: str | None = None, epochs: int | None = None, kafka: str | None = None
) -> None:
    """Go on with a run that was paused, stopped, finished or failed, exactly where it was.

    Parameters
    ----------
    device
        Where to go on; unset: where it was.
    epochs
        How many epochs it shall have in all; unset: as before.
    kafka
        As in `start`.
    """
    status = folder.status()
    if status not in ENDED:
        raise UserError(f"run {folder.name} is {status}: it needs no resuming")
    if folder.is_program:
        raise UserError(f"run {folder.name} is of a program, which LIT can't go on with: start the program again")
    definition = folder.read_json("definition.json")
    definition["device"] = checked_device(device or definition["device"])
    definition["epochs"] = epochs or definition["epochs"]
    folder.write_json("definition.json", definition)
    _spawn(folder, kafka)


def _spawn(folder: RunFolder, kafka: str | None) -> None:
    events = folder.state / "events.jsonl"
    before = events.stat().st_size if events.is_file() else 0
    kept = {key: value for key, value in folder.session().items() if key in ("epoch", "best_epoch")}
    folder.write("session.txt", "")
    folder.set_session(status="queued", requested=time.time(), events_before=before, **kept)
    workspace = folder.workspace
    command = ["--data", str(workspace.data), "--team", workspace.team, "--project", folder.project]
    folder.spawn("lit.trainer.run", *command, "--run", str(folder.run), *(["--kafka", kafka] if kafka else []))


def _signal(folder: RunFolder, number: signal.Signals, what: str) -> None:
    if not folder.active():
        raise UserError(f"run {folder.name} is {folder.status()}: there is nothing to {what}")
    os.kill(int(folder.session()["pid"]), number)
