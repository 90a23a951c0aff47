"""`lit project …`: which files and features a team works with."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from lit.sdk.workspace import workspace_of

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Name = Annotated[str, typer.Argument(help="name of the project")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    projects = typer.Typer(no_args_is_help=True, help="Projects: the files and features that a team works with.")
    projects.command("list")(list_all)
    projects.command("show")(show)
    projects.command("save")(save)
    projects.command("delete")(delete)
    app.add_typer(projects, name="project")


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's projects."""
    from lit.streams.projects import project_names

    names = project_names(workspace_of(team))
    typer.echo(json.dumps(names) if as_json else "\n".join(names) or f"team {team!r} has no project")


def show(name: Name, team: Team = "demo") -> None:
    """Show a project as JSON."""
    import msgspec

    from lit.streams.projects import load_project

    project = load_project(workspace_of(team), name)
    typer.echo(json.dumps(msgspec.to_builtins(project), indent=2))


def save(
    name: Name,
    files: Annotated[list[str], typer.Argument(help="files in the dataset's order, within raw or by their path")],
    team: Team = "demo",
    feature: Annotated[list[str] | None, typer.Option(help="a feature; may be given several times")] = None,
    adapter: Annotated[
        str, typer.Option(help="the source adapter; by default, as the first file's name suggests")
    ] = "",
    param: Annotated[list[str] | None, typer.Option(help="a parameter of the adapter, as time_zone=UTC")] = None,
    description: Annotated[str, typer.Option(help="what it is about")] = "",
) -> None:
    """Add a project, or write one anew."""
    from pathlib import Path

    from lit.cli.files import parameters_of
    from lit.streams.errors import UserError
    from lit.streams.projects import Project, save_project
    from lit.streams.raw_files import raw_root
    from lit.streams.sources import adapter_for

    workspace = workspace_of(team)
    root, paths = raw_root(workspace), []
    for file in files:
        path = root / file if (root / file).is_file() else Path(file).absolute()
        if not path.is_file():
            raise UserError(f"there is no file {file!r}, neither here nor in {root}")
        paths.append(os.path.relpath(path, root) if path.is_relative_to(root) else str(path))
    reader = adapter or adapter_for(Path(files[0]))
    parameters = parameters_of(workspace, reader, param)
    written = save_project(workspace, name, Project(paths, feature or [], reader, parameters, description))
    typer.echo(f"{written}: {len(paths)} files, {len(feature or [])} features")


def delete(name: Name, team: Team = "demo") -> None:
    """Delete a project; its files and features stay."""
    from lit.streams.projects import delete_project, load_project

    workspace = workspace_of(team)
    load_project(workspace, name)
    delete_project(workspace, name)
    typer.echo(f"project {name} deleted")
