"""Projects of a team: the files and features it works with."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.schemas import Strict
from lit.api.services import Services
from lit.streams.errors import UserError
from lit.streams.parameters import effective
from lit.streams.projects import Project, delete_project, load_project, project_names, project_path, save_project
from lit.streams.raw_files import raw_path
from lit.streams.sources import declared_parameters
from lit.streams.workspace import Workspace


class ProjectFile(Strict):
    """`{team}/projects/{name}.json`: files (within `raw`), features, and the source adapter with its parameters."""

    paths: list[str] = Field(default_factory=list, max_length=100_000)
    features: list[str] = Field(default_factory=list)
    adapter: str = "refinitiv"
    parameters: dict[str, Any] = Field(default_factory=dict)
    description: str = Field(default="", max_length=10_000)


class ProjectView(BaseModel):
    """A project."""

    name: str
    paths: list[str]
    features: list[str]
    adapter: str
    parameters: dict[str, Any]
    description: str


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/projects", tags=["files"])

    @routes.get("")
    @needs(Role.VIEWER)
    def projects(team: str) -> list[ProjectView]:
        """Return the team's projects; a file that cannot be read is left out."""
        workspace = services.workspace(team)
        found = []
        for name in project_names(workspace):
            try:
                found.append(_view(name, load_project(workspace, name)))
            except UserError:
                continue
        return found

    @routes.get("/{name}")
    @needs(Role.VIEWER)
    def project(team: str, name: str) -> ProjectView:
        """Return a project."""
        workspace = _existing(services, team, name)
        return _view(name, load_project(workspace, name))

    @routes.put("/{name}")
    @needs(Role.EDITOR)
    def put(team: str, name: str, body: ProjectFile) -> ProjectView:
        """Add a project, or change one."""
        workspace = Workspace(services.data, team)
        effective(declared_parameters(workspace, body.adapter), body.parameters, body.adapter)
        for path in body.paths:
            if not raw_path(workspace, path).is_file():
                raise NotFoundError(f"there is no file {path!r} in raw of team {team!r}")
        wanted = Project(**body.model_dump())
        save_project(workspace, name, wanted)
        return _view(name, wanted)

    @routes.delete("/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete(team: str, name: str) -> None:
        """Delete a project; its files and features stay."""
        delete_project(_existing(services, team, name), name)

    return routes


def _existing(services: Services, team: str, name: str) -> Workspace:
    workspace = services.workspace(team)
    if not project_path(workspace, name).is_file():
        raise NotFoundError(f"team {team!r} has no project {name!r}")
    return workspace


def _view(name: str, project: Project) -> ProjectView:
    return ProjectView(name=name, **msgspec.structs.asdict(project))
