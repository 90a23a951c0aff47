"""Files of a team's `raw` folder: what is in them, whether they are cached; start, stop and go on; delete."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.schemas import Strict
from lit.api.services import Services
from lit.streams import caching
from lit.streams.cached import cached_files, settle
from lit.streams.errors import UserError
from lit.streams.ingest_bytes import digest_of
from lit.streams.quarantine import quarantine_path
from lit.streams.raw_files import RawFile, delete_raw_file, raw_file, raw_files, raw_path
from lit.streams.sources import adapter_for
from lit.streams.workspace import Workspace


class CacheOrder(Strict):
    """Files within `raw` to cache; `adapter` null: as each file's name suggests."""

    paths: list[str] = Field(min_length=1, max_length=10_000)
    adapter: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class StopOrder(Strict):
    """Files whose caching is to stop."""

    paths: list[str] = Field(min_length=1, max_length=10_000)


class RefusedRow(BaseModel):
    """A row that was refused or set aside: its line in the file, why, and the beginning of its text."""

    line: int
    reason: str
    row: str


class FileDigest(BaseModel):
    """SHA-256 (hexadecimal) and size of a file."""

    sha256: str
    size: int


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/files", tags=["files"])

    @routes.get("")
    @needs(Role.VIEWER)
    def files(team: str) -> list[RawFile]:
        """Return the team's files, those copied into `raw` by hand too."""
        workspace = services.workspace(team)
        for entry in cached_files(workspace).values():
            if not entry.cached:  # sent by a build, say, which does not wait for the store
                settle(workspace, entry, services.stores.team(team))
        return raw_files(workspace)

    @routes.get("/info")
    @needs(Role.VIEWER)
    def info(team: str, path: str) -> RawFile:
        """Return one file."""
        workspace = services.workspace(team)
        return raw_file(workspace, _there(workspace, path))

    @routes.get("/digest")
    @needs(Role.VIEWER)
    def digest(team: str, path: str) -> FileDigest:
        """Return the SHA-256 of a file as it is on disk, to compare with that of its source."""
        workspace = services.workspace(team)
        found, size, _ = digest_of(_there(workspace, path))
        return FileDigest(sha256=found.removeprefix("sha256:"), size=size)

    @routes.get("/refused")
    @needs(Role.VIEWER)
    def refused(team: str, path: str, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[RefusedRow]:
        """Return rows of a file that were refused or set aside when it was last read."""
        workspace = services.workspace(team)
        kept = quarantine_path(workspace, _there(workspace, path))
        if not kept.exists():
            return []
        with kept.open(newline="", encoding="utf-8") as file:
            rows = itertools.islice(csv.DictReader(file), limit)
            return [RefusedRow(line=int(row["line"]), reason=row["reason"], row=row["row"][:2000]) for row in rows]

    @routes.post("/cache", status_code=202)
    @needs(Role.EDITOR)
    def cache(team: str, body: CacheOrder) -> list[RawFile]:
        """Cache files, or go on with those that were stopped or failed; several are worked on at once."""
        workspace = services.workspace(team)
        paths = [_there(workspace, path) for path in body.paths]
        for path in paths:
            caching.want(workspace, path, body.adapter or adapter_for(path), body.parameters)
        services.workers.wake()
        return [raw_file(workspace, path) for path in paths]

    @routes.post("/stop")
    @needs(Role.EDITOR)
    def stop(team: str, body: StopOrder) -> list[RawFile]:
        """Stop cachings; what was sent stays, and caching the file again goes on there."""
        workspace = services.workspace(team)
        paths = [_there(workspace, path) for path in body.paths]
        for path in paths:
            caching.stop(workspace, str(path))
        services.workers.wake()
        return [raw_file(workspace, path) for path in paths]

    @routes.delete("", status_code=204)
    @needs(Role.EDITOR)
    def delete(team: str, path: str) -> None:
        """Delete a file and its ticks, if no schema, project or stream names it and nothing caches it."""
        workspace = services.workspace(team)
        target = _there(workspace, path)
        try:
            entry = delete_raw_file(workspace, target)
        except UserError as error:
            raise ConflictError(str(error)) from error
        if entry is not None:
            services.stores.team(team).delete(entry.adapter, entry.origin)
        services.workers.wake()

    return routes


def _there(workspace: Workspace, name: str) -> Path:
    """Return a file of the list by the path that it shows: within `raw`, or one that was cached from elsewhere."""
    if name in cached_files(workspace):
        return Path(name)
    path = raw_path(workspace, name)
    if not path.is_file() and str(path) not in cached_files(workspace):
        raise NotFoundError(f"there is no file {name!r} in raw of team {workspace.team!r}")
    return path
