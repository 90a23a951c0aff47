"""`lit schema`: what datasets are made of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.features.schema_check import Change

Team = Annotated[str, typer.Option(help="the team")]
Name = Annotated[str, typer.Argument(help="name of the schema")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Paths = Annotated[list[str], typer.Option("--path", help="a file, in the order of time; within raw, or absolute")]
Features = Annotated[list[str], typer.Option("--feature", help="a feature; samplers and labels are features too")]
Resolution = Annotated[int, typer.Option(help="every how many ticks a sample is tried; 1: at each")]
SplitBy = Annotated[str, typer.Option(help="date=2024-01-01, random=0.2, random=0.2,7 (with a seed) or end=0.2")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    schemas = typer.Typer(no_args_is_help=True, help="What datasets are made of: files, features, density, split.")
    for name, command in (
        ("list", list_all),
        ("show", show),
        ("create", create),
        ("copy", copy),
        ("diff", diff),
        ("check", check),
        ("delete", delete),
    ):
        schemas.command(name)(command)
    app.add_typer(schemas, name="schema")


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List schemas."""
    from lit.features.schema import load_schema
    from lit.features.schema_check import schema_names

    workspace = workspace_of(team)
    found = [load_schema(workspace, name) for name in schema_names(workspace)]
    if as_json:
        _print(found)
        return
    for schema in found:
        split = f"{schema.split.kind} {schema.split.value}"
        typer.echo(
            f"{schema.name:24} {len(schema.paths):>4} files  {len(schema.features):>3} features  split by {split}"
        )


def show(name: Name, team: Team = "demo") -> None:
    """Print a schema as JSON."""
    from lit.features.schema import load_schema

    _print(load_schema(workspace_of(team), name))


def create(
    name: Name,
    path: Paths,
    feature: Features,
    team: Team = "demo",
    adapter: Annotated[str, typer.Option(help="source adapter that reads the files")] = "refinitiv",
    resolution: Resolution = 1,
    split: SplitBy = "end=0.2",
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    compression: Annotated[str, typer.Option(help="none, lzf or gzip")] = "none",
    chunk_rows: Annotated[int, typer.Option(help="samples stored together; 0: as many as fit into 64 kB")] = 0,
) -> None:
    """Save a schema, checked: its files and features exist, its split makes sense."""
    import msgspec

    from lit.features.schema import Schema
    from lit.features.schema_check import save_checked
    from lit.streams.errors import UserError

    fields = {
        "name": name,
        "paths": path,
        "features": feature,
        "adapter": adapter,
        "resolution": resolution,
        "split": _split(split),
        "dtype": dtype,
        "compression": compression,
        "chunk_rows": chunk_rows,
    }
    try:
        schema = msgspec.convert(fields, Schema)
    except msgspec.ValidationError as error:
        raise UserError(f"schema {name!r}: {error}") from None
    save_checked(workspace_of(team), schema)
    typer.echo(f"schema {name!r} is saved; `lit build {name}` builds it")


def copy(name: Name, to: Annotated[str, typer.Argument(help="name of the copy")], team: Team = "demo") -> None:
    """Save a schema under another name."""
    from lit.features.schema_check import copy_schema

    copy_schema(workspace_of(team), name, to)
    typer.echo(f"schema {name!r} is copied to {to!r}")


def diff(
    before: Name,
    after: Annotated[str, typer.Argument(help="another one")],
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Show what differs between two schemas."""
    from lit.features.schema import load_schema
    from lit.features.schema_check import differences

    workspace = workspace_of(team)
    tell_changes(differences(load_schema(workspace, before), load_schema(workspace, after)), as_json)


def check(name: Name, team: Team = "demo") -> None:
    """Say what keeps a schema from being built; exit code 2 if something does."""
    from lit.features.schema import load_schema
    from lit.features.schema_check import problems

    workspace = workspace_of(team)
    found = problems(workspace, load_schema(workspace, name))
    for sentence in found:
        typer.echo(sentence)
    if found:
        raise typer.Exit(2)
    typer.echo(f"schema {name!r} can be built")


def delete(name: Name, team: Team = "demo") -> None:
    """Delete a schema; builds and assets made of it stay."""
    from lit.features.schema import load_schema, schema_path

    workspace = workspace_of(team)
    load_schema(workspace, name)
    schema_path(workspace, name).unlink()


def tell_changes(changes: Sequence[Change], as_json: bool) -> None:
    """Print differences."""
    if as_json:
        _print(changes)
        return
    for change in changes:
        typer.echo(f"{change.field}: {json.dumps(change.before)} → {json.dumps(change.after)}")
    if not changes:
        typer.echo("no difference")


def _split(text: str) -> dict[str, Any]:
    from lit.streams.errors import UserError

    kind, _, value = text.partition("=")
    if kind == "date" and value:
        return {"kind": kind, "value": value}
    fraction, _, seed = value.partition(",")
    try:
        return {"kind": kind, "value": float(fraction), "seed": int(seed or 0)}
    except ValueError:
        raise UserError(f"split {text!r} is none: date=2024-01-01, random=0.2, random=0.2,7 or end=0.2") from None


def _print(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
