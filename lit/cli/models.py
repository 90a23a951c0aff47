"""`lit canvas` and `lit component`: designs of models and what they are made of, kept by the team."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lit.sdk.workspace import workspace_of

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Name = Annotated[str, typer.Argument(help="its name")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    canvas = typer.Typer(no_args_is_help=True, help="Canvases: designs of models; `lit train` checks and trains them.")
    canvas.command("list")(list_canvases)
    canvas.command("show")(show_canvas)
    canvas.command("save")(save_canvas)
    canvas.command("delete")(delete_canvas)
    app.add_typer(canvas, name="canvas")
    component = typer.Typer(no_args_is_help=True, help="Components: Python files that canvases are made of.")
    component.command("list")(list_components)
    component.command("show")(show_component)
    component.command("save")(save_component)
    component.command("delete")(delete_component)
    app.add_typer(component, name="component")


def list_canvases(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's canvases."""
    from lit.trainer.canvas import canvases

    found = canvases(workspace_of(team))
    if as_json:
        return typer.echo(json.dumps(found))
    for name in found:
        typer.echo(name)
    if not found:
        typer.echo(f"team {team!r} has no canvases yet; `lit canvas save FILE` adds one")
    return None


def show_canvas(name: Name, team: Team = "demo") -> None:
    """Print a canvas as JSON, for editing."""
    import msgspec

    from lit.trainer.canvas import load_canvas

    found = msgspec.json.encode(load_canvas(workspace_of(team), name))
    typer.echo(msgspec.json.format(found, indent=2).decode())


def save_canvas(
    file: Annotated[Path, typer.Argument(help="a JSON file; the canvas' name is in it")], team: Team = "demo"
) -> None:
    """Keep a canvas with the team, finished or not, and say what is wrong with it so far."""
    from lit.trainer import canvas as designs
    from lit.trainer.component import load_components

    workspace = workspace_of(team)
    design = designs.parse_canvas(_content(file))
    designs.save_canvas(workspace, design)
    typer.echo(f"canvas {design.name!r} is saved; `lit train {design.name!r} --check` shows what it becomes")
    for problem in designs.problems(design, load_components(workspace)):
        typer.echo(f"  {problem}")


def delete_canvas(name: Name, yes: Yes = False, team: Team = "demo") -> None:
    """Delete a canvas; runs keep the design that they were trained with."""
    from lit.trainer import canvas as designs

    workspace = workspace_of(team)
    designs.load_canvas(workspace, name)
    _sure(yes, f"Delete canvas {name!r}?")
    designs.delete_canvas(workspace, name)
    typer.echo(f"canvas {name!r} is deleted")


def list_components(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's components, broken ones with what is wrong."""
    from lit.trainer.component import load_components

    found = load_components(workspace_of(team))
    if as_json:
        return typer.echo(json.dumps([item.form() for item in found.values()]))
    for item in found.values():
        typer.echo(f"{item.name:<20}{f'broken: {item.error}' if item.error else item.summary}")
    return None


def show_component(
    name: Name,
    source: Annotated[bool, typer.Option("--source", help="print the file itself")] = False,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Show a component's form, or its source."""
    from lit.streams.errors import UserError
    from lit.trainer.component import load_components

    found = load_components(workspace_of(team))
    if name not in found:
        raise UserError(f"component {name!r} does not exist: there are {', '.join(found)}")
    item = found[name]
    if source:
        return typer.echo(item.source)
    if as_json:
        return typer.echo(json.dumps(item.form()))
    typer.echo(f"{item.name}: {item.error or item.summary}")
    for each in item.properties:
        kind = f"[{', '.join(each.choices)}]" if each.choices else each.kind
        default = "must be filled in" if each.required else f"default {each.default!r}"
        typer.echo(f"  {each.name} : {kind}, {default}\n      {each.description}")
    return None


def save_component(
    file: Annotated[Path, typer.Argument(help="a Python file; its name is the component's")], team: Team = "demo"
) -> None:
    """Keep a component with the team, in place of one of the same name; a broken one says so."""
    from lit.trainer import component as components

    workspace = workspace_of(team)
    components.load_components(workspace)  # so that shipped ones are there to be replaced
    item = components.save_component(workspace, file.stem, _content(file).decode("utf-8", "replace"))
    typer.echo(f"component {item.name!r} is saved" + (f", but broken: {item.error}" if item.error else ""))


def delete_component(name: Name, yes: Yes = False, team: Team = "demo") -> None:
    """Delete a component of the team's own; of a shipped one, the team's changes."""
    from lit.streams.errors import UserError
    from lit.trainer import component as components

    workspace = workspace_of(team)
    found = components.load_components(workspace)
    if name not in found:
        raise UserError(f"component {name!r} does not exist: there are {', '.join(found)}")
    _sure(yes, f"Delete component {name!r}?")
    components.delete_component(workspace, name)
    back = ", and is as shipped" if name in {path.stem for path in components.shipped_files()} else ""
    typer.echo(f"component {name!r} is deleted{back}")


def _content(file: Path) -> bytes:
    from lit.streams.errors import UserError

    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"file {str(file)!r} is not readable: {error.strerror}") from error


def _sure(yes: bool, question: str) -> None:
    if not yes and not typer.confirm(question):
        raise SystemExit(2)
