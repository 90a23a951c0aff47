"""Sweeps: searches for the best properties of a canvas. Each is a process of its own that outlives the server."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.routes.runs import launched_canvas
from lit.api.services import Services
from lit.api.training_schemas import LogTail, SweepContinue, SweepDetail, SweepLaunch, SweepView
from lit.streams.workspace import Workspace
from lit.trainer import sweep as sweeps
from lit.trainer.processfolder import ENDED


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["sweeps"])

    @routes.post("/sweeps", status_code=201)
    @needs(Role.EDITOR)
    def launch(team: str, body: SweepLaunch) -> SweepView:
        """Check canvas and space and start the search."""
        workspace = services.workspace(team)
        design = launched_canvas(workspace, body.canvas, body.project, body.asset)
        if body.name and body.name in _names(workspace):
            raise ConflictError(f"sweep {body.name!r} exists: choose another name, or resume it")
        same = ("space", "trials", "metric", "seed", "epochs", "pruner")
        plan = sweeps.Plan(devices=tuple(body.devices), **{name: getattr(body, name) for name in same})
        options: dict[str, Any] = {"name": body.name, "description": body.description}
        options["kafka"] = services.config.bootstrap
        return SweepView(**_fields(sweeps.start(workspace, design, plan, **options)))

    @routes.get("/sweeps")
    @needs(Role.VIEWER)
    def all_sweeps(team: str) -> list[SweepView]:
        """Return the team's sweeps by name."""
        return [SweepView(**_fields(each)) for each in sweeps.sweeps(services.workspace(team))]

    @routes.get("/sweeps/{name}")
    @needs(Role.VIEWER)
    def show(team: str, name: str) -> SweepDetail:
        """Return a sweep with its plan and all its trials."""
        sweep = _found(services.workspace(team), name)
        trials = [asdict(each) for each in sweep.trials()]
        more = {"plan": sweep.definition["plan"], "canvas": sweep.definition["canvas"], "all_trials": trials}
        return SweepDetail.model_validate(_fields(sweep) | more)

    @routes.get("/sweeps/{name}/log")
    @needs(Role.VIEWER)
    def log(team: str, name: str) -> LogTail:
        """Return the last lines of the sweep's log."""
        return LogTail(lines=_found(services.workspace(team), name).log_tail(200))

    @routes.post("/sweeps/{name}/stop", status_code=202)
    @needs(Role.EDITOR)
    def stop(team: str, name: str) -> None:
        """Stop a sweep and its runs after their step; `resume` goes on with them."""
        sweep = _found(services.workspace(team), name)
        if not sweep.active():
            raise ConflictError(f"sweep {name!r} is {sweep.status()}: there is nothing to stop")
        sweeps.stop(sweep)

    @routes.post("/sweeps/{name}/resume", status_code=202)
    @needs(Role.EDITOR)
    def resume(team: str, name: str, body: SweepContinue) -> SweepView:
        """Go on with a sweep that was stopped or killed, or do more trials of a finished one."""
        sweep = _found(services.workspace(team), name)
        if (status := sweep.status()) not in ENDED:
            raise ConflictError(f"sweep {name!r} is {status}: it needs no resuming")
        return SweepView(**_fields(sweeps.resume(sweep, trials=body.trials, kafka=services.config.bootstrap)))

    return routes


def _names(workspace: Workspace) -> list[str]:
    return [each.name for each in sweeps.sweeps(workspace)]


def _found(workspace: Workspace, name: str) -> sweeps.Sweep:
    if name not in _names(workspace):
        raise NotFoundError(f"team {workspace.team!r} has no sweep {name!r}")
    return sweeps.find(workspace, name)


def _fields(sweep: sweeps.Sweep) -> dict[str, Any]:
    trials, best, status = sweep.trials(), sweep.best(), sweep.status()
    return {
        "name": sweep.name,
        "status": status,
        "project": sweep.project,
        "metric": sweep.plan.metric,
        "trials": sweep.plan.trials,
        "done": sum(each.state not in ("running", "waiting") for each in trials),
        "best": asdict(best) if best else None,
        "description": sweep.definition.get("description", ""),
        "created": sweep.definition.get("created", ""),
        "error": sweep.why_failed() if status == "failed" else "",
    }
