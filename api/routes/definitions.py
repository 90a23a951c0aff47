"""Streams and deployments of a team: list, put, delete; supervision follows the files."""

from __future__ import annotations

from fastapi import APIRouter

from lit.api import definitions
from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError
from lit.api.schemas import DeploymentFile, DeploymentView, StreamFile, StreamView
from lit.api.services import Services
from lit.features.intervals import Interval
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["streams"])

    @routes.get("/streams")
    @needs(Role.VIEWER)
    def streams(team: str) -> list[StreamView]:
        """Return the team's streams."""
        services.workspace(team)
        return [_stream_view(services, team, name, file) for name, file in services.streams(team).items()]

    @routes.put("/streams/{name}")
    @needs(Role.EDITOR)
    def put_stream(team: str, name: str, body: StreamFile) -> StreamView:
        """Add a stream, or change one."""
        checked_name(body.adapter.name, "adapter")
        definitions.intervals_of(name, body, {})
        definitions.write(Workspace(services.data, team), name, body)
        services.workers.wake()
        return _stream_view(services, team, name, body)

    @routes.delete("/streams/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_stream(team: str, name: str) -> None:
        """Delete a stream that nothing is deployed on; its topics stay."""
        users = [key for key, deployment in services.deployments(team).items() if deployment.stream == name]
        if users:
            raise ConflictError(f"deployment {users[0]!r} reads stream {name!r}: delete the deployment first")
        definitions.delete(services.workspace(team), StreamFile, name)
        services.workers.wake()

    @routes.get("/deployments")
    @needs(Role.VIEWER)
    def deployments(team: str) -> list[DeploymentView]:
        """Return the team's deployments."""
        services.workspace(team)
        return [_deployment_view(services, team, name, file) for name, file in services.deployments(team).items()]

    @routes.put("/deployments/{name}")
    @needs(Role.EDITOR)
    def put_deployment(team: str, name: str, body: DeploymentFile) -> DeploymentView:
        """Add a deployment, or change one."""
        if body.name != name:
            raise UserError(f"the body names the deployment {body.name!r}, the path {name!r}: make them the same")
        services.existing(team, body.stream)
        if not body.output.models:
            raise UserError("output.models is empty: name at least one vault item")
        for model in body.output.models:
            checked_name(model, "model")
        body.parameters.interval = str(Interval.parse(body.parameters.interval))
        definitions.write(Workspace(services.data, team), name, body)
        services.workers.wake()
        return _deployment_view(services, team, name, body)

    @routes.delete("/deployments/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_deployment(team: str, name: str) -> None:
        """Delete a deployment; what it predicted stays in its topics."""
        definitions.delete(services.workspace(team), DeploymentFile, name)
        services.workers.wake()

    @routes.post("/deployments/{name}/restart", status_code=202)
    @needs(Role.EDITOR)
    def restart(team: str, name: str) -> None:
        """Start a deployment's process anew, also one that has failed."""
        definitions.read(services.workspace(team), DeploymentFile, name)
        services.workers.restart(f"{team}/deployment.{name}")

    return routes


def _stream_view(services: Services, team: str, name: str, file: StreamFile | None) -> StreamView:
    worker = services.status_of(f"{team}/{'stream' if file else 'bars'}.{name}")
    return StreamView(
        name=name,
        adapter=file.adapter.name if file else None,
        parameters=file.parameters if file else {},
        intervals=services.intervals(team, name),
        symbols=services.symbols(team, name),
        status=worker.status if worker else "stopped",
    )


def _deployment_view(services: Services, team: str, name: str, file: DeploymentFile) -> DeploymentView:
    worker = services.status_of(f"{team}/deployment.{name}")
    return DeploymentView(
        name=name,
        stream=file.stream,
        interval=file.parameters.interval,
        ticker=file.parameters.ticker,
        models=file.output.models,
        device=file.output.device,
        status=worker.status if worker else "stopped",
        last_error=worker.last_error if worker else None,
    )
