"""Streams of a team: list, put, delete; supervision follows the files."""

from __future__ import annotations

from fastapi import APIRouter

from lit.api import definitions
from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError
from lit.api.schemas import StreamFile, StreamView
from lit.api.services import Services
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
