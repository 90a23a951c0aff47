"""Schemas and builds. A build is a process of its own, which outlives the server; its folder says how it is."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query

from lit.api.auth.roles import Role, needs
from lit.api.build_schemas import (
    BuildDetail,
    BuildEntry,
    ChangeView,
    CopyTo,
    FailedSampleView,
    KeptChunks,
    LogPart,
    ResumeBuild,
    SchemaFile,
    SchemaProblems,
    StartBuild,
)
from lit.api.errors import ConflictError, NotFoundError
from lit.api.services import Services
from lit.features.schema import Schema, load_schema, schema_path
from lit.features.schema_check import Change, copy_schema, differences, problems, save_checked, schema_names
from lit.processors.cleanup import Kept, clean, kept_chunks
from lit.processors.job import build_numbers, load_job, logs_folder
from lit.processors.launch import build_differences, launch, relaunch
from lit.processors.progress import BuildView, is_driven, list_builds, log_tail, stop_build, view_build
from lit.processors.putaside import read_put_aside
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

_FAILED_SHOWN = 100


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}")
    _schema_routes(routes, services)
    _kept_routes(routes, services)
    _build_routes(routes, services)
    return routes


def _schema_routes(routes: APIRouter, services: Services) -> None:
    @routes.get("/schemas", tags=["schemas"])
    @needs(Role.VIEWER)
    def schemas(team: str) -> list[SchemaFile]:
        """Return the team's schemas."""
        workspace = services.workspace(team)
        return [_file(load_schema(workspace, name)) for name in schema_names(workspace)]

    @routes.get("/schemas/{name}", tags=["schemas"])
    @needs(Role.VIEWER)
    def schema(team: str, name: str) -> SchemaFile:
        """Return a schema."""
        return _file(_found(services.workspace(team), name))

    @routes.put("/schemas/{name}", tags=["schemas"])
    @needs(Role.EDITOR)
    def put_schema(team: str, name: str, body: SchemaFile) -> SchemaFile:
        """Save a schema that can be built."""
        if body.name != name:
            raise UserError(f"the body names the schema {body.name!r}, the path {name!r}: make them the same")
        save_checked(Workspace(services.data, team), _schema(body))
        return body

    @routes.post("/schemas/check", tags=["schemas"])
    @needs(Role.VIEWER)
    def check(team: str, body: SchemaFile) -> SchemaProblems:
        """Say what keeps a schema from being built, without saving it."""
        return SchemaProblems(problems=problems(Workspace(services.data, team), _schema(body)))

    @routes.post("/schemas/{name}/copy", status_code=201, tags=["schemas"])
    @needs(Role.EDITOR)
    def copy(team: str, name: str, body: CopyTo) -> SchemaFile:
        """Save a schema under another name."""
        workspace = services.workspace(team)
        _found(workspace, name)
        if body.to in schema_names(workspace):
            raise ConflictError(f"team {team!r} has a schema {body.to!r} already: choose another name")
        return _file(copy_schema(workspace, name, body.to))

    @routes.get("/schemas/{name}/diff", tags=["schemas"])
    @needs(Role.VIEWER)
    def diff(team: str, name: str, other: str) -> list[ChangeView]:
        """Return what differs from this schema to another one."""
        workspace = services.workspace(team)
        return _changes(differences(_found(workspace, name), _found(workspace, other)))

    @routes.delete("/schemas/{name}", status_code=204, tags=["schemas"])
    @needs(Role.EDITOR)
    def delete_schema(team: str, name: str) -> None:
        """Delete a schema; builds and assets made of it stay."""
        workspace = services.workspace(team)
        _found(workspace, name)
        schema_path(workspace, name).unlink()


def _kept_routes(routes: APIRouter, services: Services) -> None:
    @routes.get("/builds/kept", tags=["builds"])
    @needs(Role.VIEWER)
    def kept(team: str) -> list[KeptChunks]:
        """Return what each schema's builds keep on disk for later ones."""
        return [_kept(one) for one in kept_chunks(services.workspace(team))]

    @routes.delete("/builds/kept/{name}", tags=["builds"])
    @needs(Role.EDITOR)
    def delete_kept(team: str, name: str) -> KeptChunks:
        """Delete what a schema's builds keep; assets stay, and the next build makes all anew."""
        workspace = services.workspace(team)
        if name not in [one.schema for one in kept_chunks(workspace)]:
            raise NotFoundError(f"nothing is kept of builds of {name!r}")
        if is_driven(workspace.path("build", name)):
            raise ConflictError(f"a build of {name!r} is running: stop it first, or wait for its end")
        return _kept(clean(workspace, name))


def _build_routes(routes: APIRouter, services: Services) -> None:
    @routes.post("/builds", status_code=201, tags=["builds"])
    @needs(Role.EDITOR)
    def start(team: str, body: StartBuild) -> BuildEntry:
        """Start a build of a schema."""
        workspace = services.workspace(team)
        _found(workspace, body.schema_name)
        bootstrap = services.config.bootstrap
        number = launch(workspace, body.schema_name, bootstrap, workers=body.workers, on_error=body.on_error)
        return _entry(view_build(workspace, number))

    @routes.get("/builds", tags=["builds"])
    @needs(Role.VIEWER)
    def builds(team: str) -> list[BuildEntry]:
        """Return the team's builds with their progress, newest first."""
        return [_entry(view) for view in list_builds(services.workspace(team))]

    @routes.get("/builds/diff", tags=["builds"])
    @needs(Role.VIEWER)
    def diff(team: str, before: int, after: int) -> list[ChangeView]:
        """Return what differs between two builds as they were frozen: schema, files, features, packages."""
        workspace = services.workspace(team)
        for number in (before, after):
            _known(workspace, number)
        return _changes(build_differences(workspace, before, after))

    @routes.get("/builds/{build}", tags=["builds"])
    @needs(Role.VIEWER)
    def show(team: str, build: int) -> BuildDetail:
        """Return a build: how far it is, what each worker does, what it began with, what was put aside."""
        workspace = services.workspace(team)
        _known(workspace, build)
        failed = read_put_aside(logs_folder(workspace, build) / "quarantine.jsonl")
        try:
            snapshot: dict[str, Any] | None = msgspec.to_builtins(load_job(workspace, build))
        except UserError:
            snapshot = None
        return BuildDetail(
            **_entry(view_build(workspace, build)).model_dump(),
            snapshot=snapshot,
            quarantined=len(failed),
            failed=[FailedSampleView(**msgspec.to_builtins(one)) for one in failed[:_FAILED_SHOWN]],
        )

    @routes.get("/builds/{build}/log", tags=["builds"])
    @needs(Role.VIEWER)
    def log(
        team: str,
        build: int,
        lines: Annotated[int, Query(ge=1, le=5000)] = 100,
        after: Annotated[int | None, Query(ge=0)] = None,
    ) -> LogPart:
        """Return the last lines of a build's log, or what was written from byte `after` on."""
        workspace = services.workspace(team)
        _known(workspace, build)
        text, following = log_tail(workspace, build, lines, after)
        return LogPart(text=text, next=following)

    @routes.post("/builds/{build}/stop", status_code=202, tags=["builds"])
    @needs(Role.EDITOR)
    def stop(team: str, build: int) -> None:
        """Stop a build; its finished chunks stay."""
        workspace = services.workspace(team)
        _known(workspace, build)
        if (status := view_build(workspace, build).status) != "running":
            raise ConflictError(f"build {build} is {status}: there is nothing to stop")
        stop_build(workspace, build)

    @routes.post("/builds/{build}/resume", status_code=202, tags=["builds"])
    @needs(Role.EDITOR)
    def resume(team: str, build: int, body: ResumeBuild) -> BuildEntry:
        """Go on with a build that was stopped, failed or crashed."""
        workspace = services.workspace(team)
        _known(workspace, build)
        if (status := view_build(workspace, build).status) in ("starting", "running", "complete"):
            raise ConflictError(f"build {build} is {status}: there is nothing to resume")
        relaunch(workspace, build, services.config.bootstrap, workers=body.workers)
        return _entry(view_build(workspace, build))


def _found(workspace: Workspace, name: str) -> Schema:
    if not schema_path(workspace, name).exists():
        known = ", ".join(schema_names(workspace)) or "none yet"
        raise NotFoundError(f"team {workspace.team!r} has no schema {name!r} (there are: {known})")
    return load_schema(workspace, name)


def _known(workspace: Workspace, number: int) -> None:
    if number not in build_numbers(workspace):
        raise NotFoundError(f"team {workspace.team!r} has no build {number}")


def _schema(body: SchemaFile) -> Schema:
    return msgspec.convert(body.model_dump(), Schema)


def _file(schema: Schema) -> SchemaFile:
    return SchemaFile(**msgspec.to_builtins(schema))


def _entry(view: BuildView) -> BuildEntry:
    fields = msgspec.to_builtins(view)
    return BuildEntry(schema_name=fields.pop("schema"), **fields)


def _kept(kept: Kept) -> KeptChunks:
    return KeptChunks(schema_name=kept.schema, files=kept.files, bytes=kept.bytes)


def _changes(changes: list[Change]) -> list[ChangeView]:
    return [ChangeView(**msgspec.to_builtins(change)) for change in changes]
