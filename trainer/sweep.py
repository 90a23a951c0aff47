"""Sweeps: many trainings of one canvas that look for its best properties; started, followed, stopped, resumed.

A sweep is a folder `{team}/sweeps/{name}/` and a process (`lit.trainer.sweep_process`); each trial is a run like any
other. `journal.log` is Optuna's own record, from which a killed sweep goes on; `trials.json` is for readers.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from lit.streams.errors import UserError
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace, checked_name
from lit.trainer.backend import checked_device
from lit.trainer.canvas import Canvas, node_of_role
from lit.trainer.component import load_components
from lit.trainer.experiments import checked_canvas
from lit.trainer.hyper import Hyper
from lit.trainer.processfolder import ENDED, ProcessFolder
from lit.trainer.searchspace import read_space

PRUNERS = ("median", "none")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sweep is to do.

    Attributes
    ----------
    space : dict
        `node.property` → range or choices, see `lit.trainer.searchspace`.
    trials : int
        How many trainings, those cut short included.
    metric : str
        Column of perf.csv whose best epoch counts; empty: what the Globals node monitors.
    seed : int
        Of the sampler. Where one training follows the other, the same seed tries the same properties, also after a
        restart.
    devices : tuple of str
        Where to train; one trial at a time on each.
    epochs : int, optional
        Overrides the Globals node.
    pruner : str
        `median` ends a trial whose best epoch so far is worse than the median of what others had by then; `none`.
    """

    space: dict[str, Any]
    trials: int = 20
    metric: str = ""
    seed: int = 0
    devices: tuple[str, ...] = ("cpu",)
    epochs: int | None = None
    pruner: str = "median"


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial as readers see it; `state` is running, complete, pruned or failed, `value` that of its best epoch."""

    number: int
    params: dict[str, Any]
    state: str
    run: int | None = None
    value: float | None = None
    epoch: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Sweep(ProcessFolder):
    """One sweep: its workspace and name."""

    workspace: Workspace
    name: str
    definition: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.workspace.path("sweeps", self.name)

    @property
    def journal(self) -> Path:
        """Optuna's record."""
        return self.path / "journal.log"

    @property
    def project(self) -> str:
        """The project of its runs."""
        return str(self.definition["project"])

    @property
    def plan(self) -> Plan:
        """What it is to do."""
        return Plan(**{**self.definition["plan"], "devices": tuple(self.definition["plan"]["devices"])})

    @property
    def rising(self) -> bool:
        """Whether more of its metric is better."""
        return Hyper(monitor=self.plan.metric).rising

    def trials(self) -> list[TrialRecord]:
        """Return its trials by number."""
        return [TrialRecord(**each) for each in self.read_json("trials.json") or []]

    def best(self) -> TrialRecord | None:
        """Return the best trial that was trained to its end."""
        done = [each for each in self.trials() if each.state == "complete" and each.value is not None]
        return (max if self.rising else min)(done, key=lambda each: each.value or 0.0, default=None)


def start(
    workspace: Workspace,
    canvas: Canvas,
    plan: Plan,
    *,
    name: str | None = None,
    description: str = "",
    kafka: str | None = None,
) -> Sweep:
    """Make a sweep's folder and start its process; returns at once. Raises what `create` does."""
    sweep = create(workspace, canvas, plan, name=name, description=description)
    _spawn(sweep, kafka)
    return sweep


def create(
    workspace: Workspace, canvas: Canvas, plan: Plan, *, name: str | None = None, description: str = ""
) -> Sweep:
    """Check canvas and plan and make the sweep's folder.

    Raises
    ------
    UserError
        If canvas, plan or name are not usable.
    """
    checked_canvas(workspace, canvas)
    components = load_components(workspace)
    read_space(plan.space, canvas, components)
    if plan.trials < 1:
        raise UserError(f"trials is {plan.trials}: it must be at least 1")
    if plan.pruner not in PRUNERS:
        raise UserError(f"pruner is {plan.pruner!r}: use {' or '.join(PRUNERS)}")
    if not plan.devices or len(set(plan.devices)) < len(plan.devices):
        raise UserError("name each device once, and at least one")
    for device in plan.devices:
        checked_device(device)
    node = node_of_role(canvas, components, "globals")
    globals_ = node.properties if node else {}
    metric = plan.metric or str(globals_.get("monitor") or Hyper().monitor)
    definition = {
        "canvas": msgspec.to_builtins(canvas),
        "components": {name: each.source for name, each in sorted(components.items())},
        "project": canvas.settings["project"],
        "plan": asdict(plan) | {"metric": metric},
        "description": description,
        "created": iso_ms(time.time_ns()),
    }
    return _created(workspace, name, canvas.name, definition)


def find(workspace: Workspace, name: str) -> Sweep:
    """Return an existing sweep, or raise `UserError`."""
    sweep = Sweep(workspace, checked_name(name, "sweep"))
    definition = sweep.read_json("sweep.json") if sweep.path.is_dir() else {}
    if not definition:
        known = ", ".join(each.name for each in sweeps(workspace)) or "none"
        raise UserError(f"sweep {name!r} does not exist: there are {known}")
    return Sweep(workspace, name, definition)


def sweeps(workspace: Workspace) -> list[Sweep]:
    """List the team's sweeps by name."""
    return [find(workspace, path.parent.name) for path in sorted(workspace.path("sweeps").glob("*/sweep.json"))]


def stop(sweep: Sweep) -> None:
    """Stop a sweep and its runs between two steps; `resume` goes on with it."""
    if not sweep.active():
        raise UserError(f"sweep {sweep.name!r} is {sweep.status()}: there is nothing to stop")
    os.kill(int(sweep.session()["pid"]), signal.SIGTERM)


def resume(sweep: Sweep, *, trials: int | None = None, kafka: str | None = None) -> Sweep:
    """Go on with a sweep that was stopped or killed, or do more trials of a finished one.

    Parameters
    ----------
    trials
        How many in all; unset: as before.
    """
    if (status := sweep.status()) not in ENDED:
        raise UserError(f"sweep {sweep.name!r} is {status}: it needs no resuming")
    if trials is not None:
        sweep.definition["plan"]["trials"] = trials
        sweep.write_json("sweep.json", sweep.definition)
    _spawn(sweep, kafka)
    return sweep


def _created(workspace: Workspace, name: str | None, canvas: str, definition: dict[str, Any]) -> Sweep:
    root = workspace.folder("sweeps")
    number = 1
    while True:
        chosen = checked_name(name or f"{canvas} {number}", "sweep")
        try:
            (root / chosen).mkdir()
            break
        except FileExistsError:
            if name:
                raise UserError(f"sweep {name!r} exists: choose another name, or resume it") from None
            number += 1
    sweep = Sweep(workspace, chosen, definition)
    sweep.write("log.txt", "")
    sweep.write_json("trials.json", [])
    sweep.write_json("sweep.json", definition)
    return sweep


def _spawn(sweep: Sweep, kafka: str | None) -> None:
    sweep.write("session.txt", "")
    sweep.set_session(status="queued", requested=time.time())
    workspace = sweep.workspace
    command = ["--data", str(workspace.data), "--team", workspace.team, "--sweep", sweep.name]
    sweep.spawn("lit.trainer.sweep_process", *command, *(["--kafka", kafka] if kafka else []))
