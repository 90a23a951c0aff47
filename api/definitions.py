"""Streams and deployments as files of a team, and how they are read: the files are the record."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from lit.api.errors import NotFoundError
from lit.api.schemas import DeploymentFile, StreamFile
from lit.features.intervals import Interval
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name

M = TypeVar("M", bound=BaseModel)
#: Bars that every stream has.
DEFAULT_INTERVAL = "1minute"
_FOLDERS: dict[type[BaseModel], tuple[str, str]] = {
    StreamFile: ("streams", "stream"),
    DeploymentFile: ("preview", "deployment"),
}


def teams(data: Path) -> list[str]:
    """Return the teams that have a folder."""
    if not data.is_dir():
        return []
    return sorted(path.name for path in data.iterdir() if path.is_dir() and _usable(path.name))


def read_all(workspace: Workspace, kind: type[M]) -> dict[str, M]:
    """Return a team's definitions by name; a file that cannot be read is left out (`read` says why)."""
    found = {}
    for path in sorted(workspace.path(_FOLDERS[kind][0]).glob("*.json")):
        try:
            found[path.stem] = read(workspace, kind, path.stem)
        except UserError:
            continue
    return found


def names(workspace: Workspace, kind: type[BaseModel]) -> set[str]:
    """Return the names of a team's definitions, readable or not."""
    return {path.stem for path in workspace.path(_FOLDERS[kind][0]).glob("*.json")}


def read(workspace: Workspace, kind: type[M], name: str) -> M:
    """Return one definition.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    UserError
        If its file is not usable.
    """
    path = _path(workspace, kind, name)
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise _missing(workspace, kind, name) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(f"{path.name} is not a {_FOLDERS[kind][1]}: {where}: {first['msg']}") from error


def require(workspace: Workspace, kind: type[BaseModel], name: str) -> None:
    """Raise `NotFoundError` if there is no definition of that name, readable or not."""
    if not _path(workspace, kind, name).exists():
        raise _missing(workspace, kind, name)


def intervals_of(stream: str, file: StreamFile | None, deployments: dict[str, DeploymentFile]) -> list[str]:
    """Return the intervals whose bars a stream has: the default, its own wish, what deployments on it read.

    An interval that does not exist, in a deployment's file that was written by hand, is left out: its worker says so.
    """
    wanted = {DEFAULT_INTERVAL}
    wanted.update(str(Interval.parse(text)) for text in (file.intervals if file else []))
    for deployment in deployments.values():
        if deployment.stream == stream:
            with suppress(UserError):
                wanted.add(str(Interval.parse(deployment.parameters.interval)))
    return [str(interval) for interval in sorted(map(Interval.parse, wanted))]


def _path(workspace: Workspace, kind: type[BaseModel], name: str) -> Path:
    folder, what = _FOLDERS[kind]
    checked_name(name, what)
    return workspace.path(folder, f"{name}.json")


def _missing(workspace: Workspace, kind: type[BaseModel], name: str) -> NotFoundError:
    return NotFoundError(f"team {workspace.team!r} has no {_FOLDERS[kind][1]} {name!r}")


def _usable(name: str) -> bool:
    try:
        checked_name(name)
    except UserError:
        return False
    return True
