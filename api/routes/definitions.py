"""Streams of a team: adapters and their forms; list, put, delete, start, stop, steer. Workers follow the files."""

from __future__ import annotations

import time
from typing import Annotated, Literal, cast

import msgspec
from fastapi import APIRouter, Query

from lit.api import definitions
from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError
from lit.api.schemas import (
    Gap,
    Steering,
    StreamAdapterView,
    StreamDetail,
    StreamField,
    StreamFile,
    StreamHealth,
    StreamView,
)
from lit.api.services import Services
from lit.features.schema import load_schema
from lit.streams import stream_files
from lit.streams.live import Stream, remove_stream, save_stream
from lit.streams.live_health import read_health
from lit.streams.stream_adapters import adapter_kind
from lit.streams.workspace import Workspace, checked_name


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["streams"])

    def view(team: str, name: str) -> StreamView:
        services.workers.wake()
        return _stream_view(services, team, name, services.existing(team, name)[name])

    @routes.get("/stream-adapters")
    @needs(Role.VIEWER)
    def adapters(team: str) -> list[StreamAdapterView]:
        """Return the stream adapters that the team can use, with their forms."""
        found = stream_files.list_adapters(Workspace(services.data, team))
        return [
            StreamAdapterView(
                name=info.name,
                kind=cast(Literal["input", "output"], info.kind),
                summary=info.form.summary,
                fields=[StreamField(**field.json()) for field in info.form.fields],
            )
            for info in found
        ]

    @routes.get("/streams")
    @needs(Role.VIEWER)
    def streams(team: str) -> list[StreamView]:
        """Return the team's streams."""
        services.workspace(team)
        return [_stream_view(services, team, name, file) for name, file in services.streams(team).items()]

    @routes.get("/streams/{name}")
    @needs(Role.VIEWER)
    def stream(team: str, name: str) -> StreamDetail:
        """Return a stream: what it is, how it does, and its file."""
        file = services.existing(team, name)[name]
        shown = _stream_view(services, team, name, file)
        hidden = file.model_copy(update={"parameters": shown.parameters}) if file else None
        return StreamDetail(**shown.model_dump(), file=hidden)

    @routes.get("/streams/{name}/gaps")
    @needs(Role.VIEWER)
    def gaps(team: str, name: str, symbol: str | None = None) -> list[Gap]:
        """Return the gaps of the last week, oldest first; the tick topic has all of them."""
        services.existing(team, name)
        found = stream_files.told_gaps(services.config.bootstrap, team, name, symbol)
        return [Gap(**msgspec.structs.asdict(gap)) for gap in found]

    @routes.put("/streams/{name}")
    @needs(Role.EDITOR)
    def put_stream(
        team: str,
        name: str,
        body: StreamFile,
        partitions: Annotated[int | None, Query(ge=1, le=stream_files.MOST_PARTITIONS)] = None,
    ) -> StreamView:
        """Add a stream, or change one; what its adapter's form does not know or lacks is refused.

        `partitions`: how many workers may share it; a stream keeps what its topic was made with.
        """
        checked_name(body.adapter.name, "adapter")
        definitions.intervals_of(name, body, {})
        workspace = Workspace(services.data, team)
        for schema in body.features:
            load_schema(workspace, schema)
        stream = stream_files.check_stream(workspace, name, msgspec.convert(body.model_dump(), Stream))
        if partitions is not None:
            config = services.config
            stream_files.partition_stream(config.bootstrap, team, name, partitions, config.replication)
        save_stream(workspace, name, stream)
        return view(team, name)

    @routes.post("/streams/{name}/start")
    @needs(Role.EDITOR)
    def start(team: str, name: str) -> StreamView:
        """Let a stream run, also one that came to its end or failed."""
        definitions.read(services.workspace(team), StreamFile, name)
        stream_files.enable(services.workspace(team), name, True)
        if services.status_of(worker := f"{team}/stream.{name}") is not None:
            services.workers.restart(worker)
        return view(team, name)

    @routes.post("/streams/{name}/stop")
    @needs(Role.EDITOR)
    def stop(team: str, name: str) -> StreamView:
        """Stop a stream; its file stays, and says that it is stopped."""
        definitions.read(services.workspace(team), StreamFile, name)
        stream_files.enable(services.workspace(team), name, False)
        return view(team, name)

    @routes.post("/streams/{name}/steer")
    @needs(Role.EDITOR)
    def steer(team: str, name: str, body: Steering) -> StreamView:
        """Pause, change the speed, jump, loop: for adapters that can, such as replay."""
        definitions.read(services.workspace(team), StreamFile, name)
        stream_files.steer(services.workspace(team), name, **body.model_dump(exclude_unset=True))
        return view(team, name)

    @routes.delete("/streams/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_stream(team: str, name: str) -> None:
        """Delete a stream that nothing is deployed on; its topics stay."""
        users = [key for key, deployment in services.deployments(team).items() if deployment.stream == name]
        if users:
            raise ConflictError(f"deployment {users[0]!r} reads stream {name!r}: delete the deployment first")
        workspace = services.workspace(team)
        if name not in services.streams(team):  # one whose file cannot be read, or none
            definitions.require(workspace, StreamFile, name)
        remove_stream(workspace, name)
        services.workers.wake()

    return routes


def _stream_view(services: Services, team: str, name: str, file: StreamFile | None) -> StreamView:
    worker = services.status_of(f"{team}/{'stream' if file else 'bars'}.{name}")
    workspace = Workspace(services.data, team)
    found = msgspec.convert(file.model_dump(), Stream) if file else None
    return StreamView(
        name=name,
        adapter=file.adapter.name if file else None,
        kind=adapter_kind(workspace, file.adapter.name) if file else "input",
        enabled=file.enabled if file else False,
        parameters=stream_files.hidden_parameters(workspace, found) if found else {},
        intervals=services.intervals(team, name),
        features=file.features if file else [],
        symbols=services.symbols(team, name),
        status=worker.status if worker else "stopped",
        health=_health(workspace, name) if file else None,
    )


def _health(workspace: Workspace, name: str) -> StreamHealth | None:
    health = read_health(workspace, name)
    if health is None:
        return None
    known = msgspec.to_builtins(health)
    running = health.state in ("connecting", "live", "waiting", "paused")
    stale = running and health.stale(time.time())
    return StreamHealth(stale=stale, **{key: known[key] for key in StreamHealth.model_fields if key in known})
