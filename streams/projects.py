"""Projects: which files and features a team works with, `{team}/projects/{name}.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


class Project(msgspec.Struct, frozen=True):
    """What a project has chosen.

    Parameters
    ----------
    paths
        Files in the dataset's order, absolute or below the team's `raw` folder.
    features
        Names of the team's features.
    adapter, parameters
        The source adapter that reads the files, and its parameters.
    description
        For its readers.
    """

    paths: list[str]
    features: list[str] = []
    adapter: str = "refinitiv"
    parameters: dict[str, Any] = {}
    description: str = ""

    def check(self) -> None:
        """Raise `UserError` if a field is unusable."""
        checked_name(self.adapter, "adapter")
        for what, values in (("paths", self.paths), ("features", self.features)):
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise UserError(f"the project names {twice!r} twice in its {what}; once is enough")
        for feature in self.features:
            checked_name(feature, "feature")


def project_path(workspace: Workspace, name: str) -> Path:
    """Return where a project is kept."""
    return workspace.path("projects", f"{checked_name(name, 'project')}.json")


def project_names(workspace: Workspace) -> list[str]:
    """Return the names of a team's projects."""
    return sorted(path.stem for path in workspace.path("projects").glob("*.json"))


def load_project(workspace: Workspace, name: str) -> Project:
    """Read a team's project.

    Raises
    ------
    UserError
        If it does not exist or its file is damaged.
    """
    path = project_path(workspace, name)
    try:
        project = msgspec.json.decode(path.read_bytes(), type=Project)
    except FileNotFoundError:
        known = ", ".join(project_names(workspace)) or "none"
        raise UserError(f"project {name!r} of team {workspace.team!r} does not exist: there are {known}") from None
    except msgspec.MsgspecError as error:
        raise UserError(f"project file {path} is damaged ({error}): write it as JSON with adapter and paths") from None
    project.check()
    return project


def save_project(workspace: Workspace, name: str, project: Project) -> Path:
    """Check and write a project; a reader sees the old file or the new one."""
    project.check()
    path = project_path(workspace, name)
    workspace.folder("projects")
    write_file(path, msgspec.json.format(msgspec.json.encode(project), indent=2) + b"\n")
    return path


def delete_project(workspace: Workspace, name: str) -> None:
    """Delete a project; its files and features stay."""
    project_path(workspace, name).unlink(missing_ok=True)
