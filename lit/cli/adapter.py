"""`lit adapter …`: source adapters listed, shown, made, and tried on a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.file_check import FileCheck

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Name = Annotated[str, typer.Argument(help="name of the adapter")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    adapters = typer.Typer(
        no_args_is_help=True, help="Source adapters: Python files that say how a vendor's files become ticks."
    )
    for command in (list_all, show, new, check):
        adapters.command("list" if command is list_all else command.__name__)(command)
    app.add_typer(adapters, name="adapter")


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the adapters that the team can use: shipped, edited, and its own."""
    from rich.console import Console
    from rich.table import Table

    from lit.streams.adapter_files import adapter_infos

    found = adapter_infos(workspace_of(team))
    if as_json:
        keys = ("name", "origin", "summary", "error")
        typer.echo(json.dumps([{key: getattr(info, key) for key in keys} for info in found]))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("adapter", "origin", "what it reads"):
        table.add_column(name, no_wrap=name != "what it reads")
    for info in found:
        table.add_row(info.name, info.origin, info.error or info.summary)
    Console().print(table)


def show(
    name: Name,
    team: Team = "demo",
    source: Annotated[bool, typer.Option("--source", help="print its source alone")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an adapter does, and its parameters with their defaults."""
    from lit.streams.adapter_files import adapter_info
    from lit.streams.errors import UserError

    info = adapter_info(workspace_of(team), name)
    if as_json:
        typer.echo(json.dumps(_plain(info)))
        return
    if source:
        typer.echo(info.source, nl=False)
        return
    if info.error:
        raise UserError(info.error)
    typer.echo(f"{info.name} ({info.origin})\n\n{info.description}\n")
    for parameter in info.parameters:
        typer.echo(f"  {parameter.name} : {parameter.kind}, default {json.dumps(parameter.default)}")
        typer.echo(f"      {parameter.help}")


def new(name: Name, team: Team = "demo") -> None:
    """Write a template that reads a simple CSV, to begin an adapter with (docs/adapters.md is the tutorial)."""
    from lit.streams.adapter_files import new_adapter

    path = new_adapter(workspace_of(team), name)
    typer.echo(f"{path} is yours to edit; then try it: lit adapter check {name} FILE --team {team}")


def check(
    name: Name,
    file: Annotated[Path, typer.Argument(help="a file of ticks")],
    team: Team = "demo",
    param: Annotated[list[str] | None, typer.Option(help="a parameter of the adapter, as time_zone=UTC")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an adapter makes of a file: rows, rejects, gaps, repeats, order, outliers; exit code 1 without a tick.

    Nothing is sent or changed, and nothing that is remarked here is taken out of the data.
    """
    from lit.cli.files import parameters_of
    from lit.streams.file_check import check_file
    from lit.streams.sources import load_adapter

    workspace = workspace_of(team)
    found = check_file(file, load_adapter(workspace, name, parameters_of(workspace, name, param)))
    if as_json:
        typer.echo(json.dumps(_plain(found)))
    else:
        _print(found)
    raise typer.Exit(0 if found.ticks else 1)


def _print(found: FileCheck) -> None:
    def counts(reasons: dict[str, int]) -> str:
        return "".join(f"\n    {count:>12,}  {reason}" for reason, count in reasons.items()) or " none"

    typer.echo(f"{found.path}: {found.rows:,} rows, {found.ticks:,} ticks by adapter {found.adapter}")
    if found.first:
        typer.echo(f"  from {found.first} to {found.last}")
    typer.echo(f"  passed over:{counts(found.skipped)}")
    typer.echo(f"  refused:{counts(found.rejects)}")
    for example in found.examples:
        typer.echo(f"    line {example.line}, {example.reason}: {example.row}")
    for symbol, one in found.symbols.items():
        hours = ", ".join(f"{count:,} {name}" for name, count in one.sessions.items() if count)
        typer.echo(f"  {symbol}: {one.ticks:,} ticks ({hours}), {one.first} … {one.last}")
        back = f", up to {one.furthest_back:g} s back" if one.late else ""
        typer.echo(f"    order: {one.late:,} late{back}; {one.equal_times:,} at the time of the one before")
        typer.echo(f"    repeats: {one.repeats:,}, with the same sequence number {one.duplicates:,}")
        typer.echo(f"    sequence numbers: {one.sequence_gaps:,} gaps, {one.sequence_repeats:,} repeated")
        longest = "".join(f"\n      {gap.seconds:,.0f} s from {gap.begin}" for gap in one.longest_silences)
        typer.echo(f"    silences: {one.silences:,}; breaks over 12 hours: {one.breaks:,}{longest}")
        shown = "".join(f"\n      {out.price:g} at {out.time}, median {out.median:g}" for out in one.first_outliers)
        typer.echo(f"    price outliers: {one.outliers:,}{shown}")


def _plain(record: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(record)
