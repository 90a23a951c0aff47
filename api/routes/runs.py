"""Runs: launched, followed, stopped, paused, resumed. Each is a process of its own that outlives the server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.routes.models import found_canvas
from lit.api.services import Services
from lit.api.training_schemas import (
    CalibrationBin,
    CanvasFile,
    Continue,
    DeviceView,
    FoldBody,
    Launch,
    LogTail,
    RunDetail,
    RunView,
)
from lit.streams.workspace import Workspace
from lit.trainer import experiments
from lit.trainer.backend import devices
from lit.trainer.canvas import Canvas, parse_canvas
from lit.trainer.devicequeue import queue
from lit.trainer.folds import Fold
from lit.trainer.processfolder import ENDED
from lit.trainer.runfolder import RunFolder, runs
from lit.trainer.vault import kept_epochs_of


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["runs"])

    @routes.get("/devices")
    @needs(Role.VIEWER)
    def all_devices(team: str) -> list[DeviceView]:
        """Return the devices of this machine and what waits for each."""
        services.workspace(team)
        return [_device_view(services, team, name) for name in devices()]

    @routes.post("/runs", status_code=201)
    @needs(Role.EDITOR)
    def launch(team: str, body: Launch) -> RunView:
        """Check a canvas and start its training."""
        workspace = services.workspace(team)
        design = launched_canvas(workspace, body.canvas, body.project, body.asset)
        folder = experiments.start(
            workspace,
            design,
            device=body.device,
            epochs=body.epochs,
            description=body.description,
            fold=_fold(workspace, design, body.fold) if body.fold else None,
            kafka=services.config.bootstrap,
        )
        return _view(folder, {})

    @routes.get("/runs")
    @needs(Role.VIEWER)
    def all_runs(team: str, project: str | None = None) -> list[RunView]:
        """Return the team's runs, of one project or of all, oldest first."""
        workspace = services.workspace(team)
        kept = kept_epochs_of(workspace)
        return [_view(folder, kept.get(folder.name, {})) for folder in runs(workspace, project)]

    @routes.get("/runs/{project}/{run}")
    @needs(Role.VIEWER)
    def show(team: str, project: str, run: int) -> RunDetail:
        """Return a run with all that defines it, and the epochs whose models it still has."""
        folder = found_run(services.workspace(team), project, run)
        kept = kept_epochs_of(folder.workspace).get(folder.name, {})
        return RunDetail(
            **_view(folder, kept).model_dump(),
            definition=folder.read_json("definition.json"),
            features=folder.read_json("features.json"),
            models=folder.model_epochs(),
        )

    @routes.get("/runs/{project}/{run}/perf")
    @needs(Role.VIEWER)
    def perf(team: str, project: str, run: int) -> list[dict[str, float]]:
        """Return perf.csv, an object an epoch."""
        return found_run(services.workspace(team), project, run).perf()

    @routes.get("/runs/{project}/{run}/calibration")
    @needs(Role.VIEWER)
    def calibration(team: str, project: str, run: int) -> dict[int, list[CalibrationBin]]:
        """Return by epoch how probabilities and frequencies went together; empty without a yes-or-no label."""
        found = found_run(services.workspace(team), project, run).read_json("calibration.json")
        return {int(epoch): [CalibrationBin(**each) for each in bins] for epoch, bins in found.items()}

    @routes.get("/runs/{project}/{run}/log")
    @needs(Role.VIEWER)
    def log(team: str, project: str, run: int, lines: Annotated[int, Query(ge=1, le=2000)] = 100) -> LogTail:
        """Return the last lines of the run's log."""
        return LogTail(lines=found_run(services.workspace(team), project, run).log_tail(lines))

    @routes.post("/runs/{project}/{run}/stop", status_code=202)
    @needs(Role.EDITOR)
    def stop(team: str, project: str, run: int) -> None:
        """Stop a run after its step; `resume` goes on with it."""
        folder = found_run(services.workspace(team), project, run)
        _needs_process(folder, "stop")
        experiments.stop(folder)

    @routes.post("/runs/{project}/{run}/pause", status_code=202)
    @needs(Role.EDITOR)
    def pause(team: str, project: str, run: int) -> None:
        """Pause a run after its step and free its device; `resume` goes on with it."""
        folder = found_run(services.workspace(team), project, run)
        _needs_process(folder, "pause")
        experiments.pause(folder)

    @routes.post("/runs/{project}/{run}/resume", status_code=202)
    @needs(Role.EDITOR)
    def resume(team: str, project: str, run: int, body: Continue) -> RunView:
        """Go on with a run exactly where it was, on another device or for more epochs if asked."""
        folder = found_run(services.workspace(team), project, run)
        if (status := folder.status()) not in ENDED:
            raise ConflictError(f"run {folder.name} is {status}: it needs no resuming")
        experiments.resume(folder, device=body.device, epochs=body.epochs, kafka=services.config.bootstrap)
        return _view(folder, {})

    return routes


def found_run(workspace: Workspace, project: str, run: int) -> RunFolder:
    """Return a run, or raise `NotFoundError`."""
    if run not in (folder.run for folder in runs(workspace, project)):
        raise NotFoundError(f"project {project!r} of team {workspace.team!r} has no run {run}")
    return RunFolder.find(workspace, project, run)


def launched_canvas(workspace: Workspace, canvas: str | CanvasFile, project: str | None, asset: str | None) -> Canvas:
    """Return a canvas by name or as it is, with this project and asset where given."""
    design = found_canvas(workspace, canvas) if isinstance(canvas, str) else parse_canvas(canvas.model_dump())
    design.settings |= {key: value for key, value in (("project", project), ("asset", asset)) if value}
    return design


def _fold(workspace: Workspace, design: Canvas, body: FoldBody) -> Fold:
    horizon = experiments.label_horizon(workspace, design) if body.horizon is None else body.horizon
    return Fold(**{**body.model_dump(), "horizon": horizon})


def _needs_process(folder: RunFolder, what: str) -> None:
    if not folder.active():
        raise ConflictError(f"run {folder.name} is {folder.status()}: there is nothing to {what}")


def _view(folder: RunFolder, kept: dict[int, list[str]]) -> RunView:
    definition, session = folder.read_json("definition.json"), folder.session()
    found = experiments.summary(folder)
    return RunView(
        project=folder.project,
        run=folder.run,
        status=found.status,
        kind=definition.get("kind", "canvas"),
        device=str(session.get("device") or definition.get("device") or ""),
        epochs=found.epochs,
        best_epoch=found.best_epoch,
        metrics=found.metrics,
        description=folder.description,
        created=definition.get("created", ""),
        error=folder.why_failed() if found.status == "failed" else "",
        sweep=(definition.get("sweep") or {}).get("name"),
        vault=kept,
    )


def _device_view(services: Services, team: str, device: str) -> DeviceView:
    names = queue(services.data, device)
    own = [name.partition("/")[2] for name in names if name.startswith(f"{team}/")]
    return DeviceView(name=device, queue=own, others=len(names) - len(own))
