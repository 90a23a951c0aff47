"""Deployments of a team: their files, what their workers say, how they and their models do."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from lit.api import definitions
from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.monitor import Monitor, Watched
from lit.api.record_schemas import DeploymentHealth, DeploymentReport, StandingAlert, answers
from lit.api.schemas import ChosenModel, DeploymentDetail, DeploymentFile, DeploymentView
from lit.api.services import Services
from lit.api.workers import WorkerStatus
from lit.features.intervals import Interval
from lit.serving.choice import deploy, promote, withdraw
from lit.serving.health import drift_by_model
from lit.serving.opening import Deployment, remove_deployment, save_deployment
from lit.serving.score_report import ScoreReports
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.backend import checked_device

#: A log is looked at for news this often, and a silent one says that it lives.
_FOLLOW_SECONDS, _ALIVE_SECONDS = 0.3, 15.0
_TAIL_BYTES = 256 * 1024


def router(services: Services, monitor: Monitor) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/deployments", tags=["deployments"])

    @routes.get("")
    @needs(Role.VIEWER)
    def deployments(team: str) -> list[DeploymentView]:
        """Return the team's deployments."""
        workspace = services.workspace(team)
        return [
            _view(services, team, name, file, _problem(workspace, name))
            for name, file in services.deployments(team).items()
        ]

    @routes.get("/{name}")
    @needs(Role.VIEWER)
    def deployment(team: str, name: str) -> DeploymentDetail:
        """Return a deployment: what it is, how its worker does, and its file."""
        file = definitions.read(services.workspace(team), DeploymentFile, name)
        shown = _view(services, team, name, file)
        return DeploymentDetail(**shown.model_dump(), file=file.model_copy(update={"alerts": shown.alerts}))

    @routes.put("/{name}")
    @needs(Role.EDITOR)
    def put_deployment(team: str, name: str, body: DeploymentFile) -> DeploymentView:
        """Add a deployment (models may be chosen later), or change one: the change takes over without a missed bar."""
        if body.name != name:
            raise UserError(f"the body names the deployment {body.name!r}, the path {name!r}: make them the same")
        services.existing(team, body.stream)
        body.opened().check()
        body.parameters.interval = str(Interval.parse(body.parameters.interval))
        before = services.deployments(team).get(name)
        _check_change(before, body)
        _check_choice(services.workspace(team), before, body)
        _keep_secret(before, body)
        return _written(services, team, body)

    @routes.delete("/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_deployment(team: str, name: str) -> None:
        """Delete a deployment; what it predicted stays in its topics."""
        workspace = services.workspace(team)
        definitions.require(workspace, DeploymentFile, name)
        remove_deployment(workspace, name)
        services.workers.wake()

    @routes.post("/{name}/models")
    @needs(Role.EDITOR)
    def deploy_model(team: str, name: str, body: ChosenModel) -> DeploymentView:
        """Deploy a vault item on a deployment, beside its other models or unseen by users."""
        return _changed(services, team, name, lambda found: deploy(found, vault_item(team, body.model), body.shadow))

    @routes.delete("/{name}/models/{model}")
    @needs(Role.EDITOR)
    def remove_model(team: str, name: str, model: str) -> DeploymentView:
        """Take a model from a deployment."""
        return _changed(services, team, name, lambda found: withdraw(found, model))

    @routes.post("/{name}/models/{model}/promote")
    @needs(Role.EDITOR)
    def promote_model(team: str, name: str, model: str) -> DeploymentView:
        """Let a challenger predict for users; the champion before it goes on in its shadow."""
        return _changed(services, team, name, lambda found: promote(found, model))

    @routes.post("/{name}/restart", status_code=202)
    @needs(Role.EDITOR)
    def restart(team: str, name: str) -> None:
        """Start a deployment's process anew, also one that has failed; one that runs goes on until the new one can."""
        file = definitions.read(services.workspace(team), DeploymentFile, name)
        services.workers.restart(services.server_of(team, name, file))

    @routes.get("/{name}/log", response_class=PlainTextResponse)
    @needs(Role.VIEWER)
    def log(team: str, name: str, lines: Annotated[int, Query(ge=1, le=5000)] = 200) -> str:
        """Return the last lines of what the deployment's process wrote."""
        return "\n".join(_last_lines(_log_of(services, team, name), lines))

    @routes.get("/{name}/log/live", response_class=StreamingResponse)
    @needs(Role.VIEWER)
    async def live_log(
        team: str, name: str, request: Request, lines: Annotated[int, Query(ge=0, le=5000)] = 200
    ) -> StreamingResponse:
        """Follow what the deployment's process writes, as server-sent events: a line each."""
        path = await run_in_threadpool(_log_of, services, team, name)
        return StreamingResponse(_follow(path, lines, request), media_type="text/event-stream")

    @routes.get("/{name}/health", responses=answers(DeploymentHealth))
    @needs(Role.VIEWER)
    def health(team: str, name: str) -> Response:
        """Return how a deployment is doing: its process, lag, latency, drift, and alerts that stand."""
        file = definitions.read(services.workspace(team), DeploymentFile, name)
        worker = services.status_of(services.server_of(team, name, file))
        with monitor.lock:
            return _json(_health(name, worker, monitor.of(team, name)))

    @routes.get("/{name}/report", responses=answers(DeploymentReport))
    @needs(Role.VIEWER)
    def report(team: str, name: str, shadow: bool = True) -> Response:
        """Return how a deployment's models did since the start and lately, and each challenger against the champion."""
        workspace = services.workspace(team)
        output = definitions.read(workspace, DeploymentFile, name).output
        validation = {item.name: _validation(item.metrics) for item in vault.items(workspace)}
        names = [(model, False) for model in output.models] + [(model, True) for model in output.shadow if shadow]
        with monitor.lock:
            watched = monitor.of(team, name)
            reports = watched.reports if watched else ScoreReports()
            models = [reports.report(model, hidden, validation.get(model)) for model, hidden in names]
            others = [model for model, _ in names[1:]] if output.models else []
            compared = [reports.compare(output.models[0], other) for other in others]
        return _json(DeploymentReport(models, compared))

    def vault_item(team: str, model: str) -> str:
        return vault.load(services.workspace(team), model).name

    return routes


def _changed(services: Services, team: str, name: str, change: Callable[[Deployment], Deployment]) -> DeploymentView:
    file = definitions.read(services.workspace(team), DeploymentFile, name)
    opened = change(file.opened())
    return _written(services, team, DeploymentFile(**msgspec.to_builtins(opened)))


def _written(services: Services, team: str, file: DeploymentFile) -> DeploymentView:
    save_deployment(Workspace(services.data, team), file.opened())
    services.workers.wake()
    return _view(services, team, file.name, file)


def _check_change(before: DeploymentFile | None, after: DeploymentFile) -> None:
    """Refuse to move a deployment: its topics are the record of one stream's bars."""
    if before is None:
        return
    old, new = before.opened(), after.opened()
    if (old.stream, old.parameters.interval) != (new.stream, new.parameters.interval):
        raise ConflictError(
            f"deployment {before.name!r} predicts at bars of {old.parameters.interval} of {old.stream!r}, and its "
            "topics say so: make another deployment for other bars"
        )


def _check_choice(workspace: Workspace, before: DeploymentFile | None, after: DeploymentFile) -> None:
    """Refuse models that are not in the vault and a device that is not here; what was chosen before may stay."""
    chosen = {*after.output.models, *after.output.shadow}
    for model in sorted(chosen - ({*before.output.models, *before.output.shadow} if before else set())):
        vault.load(workspace, model)
    if before is None or before.output.device != after.output.device:
        checked_device(after.output.device.lower())


def _keep_secret(before: DeploymentFile | None, after: DeploymentFile) -> None:
    """Keep a webhook's secret, which nobody is shown, where the same webhook comes back without it."""
    if before is None or "secret" in after.alerts or after.alerts.get("webhook") is None:
        return
    if before.alerts.get("webhook") == after.alerts["webhook"] and "secret" in before.alerts:
        after.alerts["secret"] = before.alerts["secret"]


def _problem(workspace: Workspace, name: str) -> str | None:
    """Return why a deployment's file is not what runs, if it cannot be read any more."""
    try:
        definitions.read(workspace, DeploymentFile, name)
    except UserError as problem:
        return f"the change is not in effect: {problem}"
    return None


def _view(services: Services, team: str, name: str, file: DeploymentFile, problem: str | None = None) -> DeploymentView:
    worker = services.status_of(services.server_of(team, name, file))
    return DeploymentView(
        name=name,
        stream=file.stream,
        interval=file.parameters.interval,
        ticker=file.parameters.ticker,
        models=file.output.models,
        shadow=file.output.shadow,
        device=file.output.device,
        alerts={rule: value for rule, value in file.alerts.items() if rule != "secret"},
        status=worker.status if worker else "stopped",
        last_error=problem or (worker.last_error if worker else None),
    )


def _health(name: str, worker: WorkerStatus | None, watched: Watched | None) -> DeploymentHealth:
    parts = watched.alive(time.time()) if watched else []
    made, passed = Counter[str](), Counter[str]()
    for part in parts:
        made.update(part.predictions)
        passed.update(part.passed_over)
    return DeploymentHealth(
        name=name,
        status=worker.status if worker else "stopped",
        last_error=worker.last_error if worker else None,
        partitions=len(parts),
        lag=sum(part.lag for part in parts) if parts else None,
        latency_ms_p50=max((p.latency_ms_p50 for p in parts if p.latency_ms_p50 is not None), default=None),
        latency_ms_p99=max((p.latency_ms_p99 for p in parts if p.latency_ms_p99 is not None), default=None),
        last_prediction=max((p.last_prediction for p in parts if p.last_prediction is not None), default=None),
        predictions=dict(made),
        passed_over=dict(passed),
        drift=drift_by_model(parts),
        standing=[StandingAlert(*key) for key in sorted(watched.book.standing)] if watched else [],
        alerts=list(watched.alerts) if watched else [],
    )


def _validation(metrics: dict[str, Any]) -> dict[str, float]:
    """Return the validation metrics of an epoch by their plain names."""
    found = {key.removeprefix("val_"): value for key, value in metrics.items() if key.startswith("val_")}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def _log_of(services: Services, team: str, name: str) -> Path:
    file = definitions.read(services.workspace(team), DeploymentFile, name)
    log = services.server_of(team, name, file).replace("/", ".", 1)
    path: Path = services.config.private / "logs" / f"{log}.log"
    if not path.exists():
        raise NotFoundError(f"deployment {name!r} has not run here yet: it has no log")
    return path


def _last_lines(path: Path, count: int) -> list[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        return [_shown(line) for line in file.read().decode(errors="replace").removesuffix("\n").split("\n")][-count:]


async def _follow(path: Path, lines: int, request: Request) -> AsyncIterator[str]:
    """Yield the last lines and then each that comes, until the client goes; a log that was rotated begins anew."""
    place = path.stat().st_size
    for line in await run_in_threadpool(_last_lines, path, lines) if lines else ():
        yield f"data: {line}\n\n"
    rest, said = b"", time.monotonic()
    while not await request.is_disconnected():
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return
        place = 0 if size < place else place
        if size > place:
            with path.open("rb") as file:
                file.seek(place)
                rest += file.read(_TAIL_BYTES)
                place = file.tell()
            *whole, rest = rest.split(b"\n")
            for raw in whole:
                yield f"data: {_shown(raw.decode(errors='replace'))}\n\n"
            said = time.monotonic()
        elif time.monotonic() - said > _ALIVE_SECONDS:
            yield ": still here\n\n"
            said = time.monotonic()
        await asyncio.sleep(_FOLLOW_SECONDS)


def _shown(line: str) -> str:
    """Return what a terminal would show of a line: progress that writes over itself ends as its last state."""
    return line.rstrip("\r").rpartition("\r")[2]


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
