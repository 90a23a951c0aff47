"""`lit vault`: epochs of runs, kept: listed, added, compared, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.cli.runs import find_run
from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.trainer.vault import VaultItem

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Item = Annotated[str, typer.Argument(help="a vault item")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="a tag; repeatable")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Models that were kept, with where they came from.")
    for name, command in (
        ("list", list_items),
        ("add", add),
        ("show", show),
        ("edit", edit),
        ("compare", compare),
        ("export", export),
        ("code", code),
        ("trust", trust),
        ("delete", delete),
    ):
        group.command(name)(command)
    app.add_typer(group, name="vault")


def list_items(
    tag: Annotated[str | None, typer.Option(help="only items with this tag")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List the vault."""
    from lit.trainer.vault import items

    found = [item for item in items(workspace_of(team)) if tag is None or tag in item.tags]
    if as_json:
        return typer.echo(json.dumps([_record(item) for item in found]))
    for item in found:
        loss = item.metrics.get("val_loss", item.metrics.get("loss", float("nan")))
        tags = f"  [{', '.join(item.tags)}]" if item.tags else ""
        typer.echo(f"{item.name:<28}{item.project}/{item.run} epoch {item.epoch}  loss {loss:.4g}{tags}")
    if not found:
        typer.echo(f"the vault of team {team!r} has no such items; `lit vault add PROJECT/NUMBER` adds one")
    return None


def add(
    run: Annotated[str, typer.Argument(help="a run, as PROJECT/NUMBER")],
    epoch: Annotated[int | None, typer.Option(help="which epoch; unset: the best")] = None,
    name: Annotated[str | None, typer.Option(help="the item's name; unset: project, run and epoch")] = None,
    notes: Annotated[str, typer.Option(help="what to remember about it")] = "",
    tags: Tags = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Keep an epoch of a run: a copy of its model, with metrics and lineage."""
    from lit.trainer import vault
    from lit.trainer.experiments import summary

    folder = find_run(team, run)
    workspace = folder.workspace
    item = vault.add(workspace, folder.project, folder.run, epoch or summary(folder).best_epoch, name)
    if notes or tags:
        item = vault.edit(workspace, item.name, notes=notes, tags=tags or ())
    typer.echo(json.dumps(_record(item)) if as_json else f"epoch {item.epoch} of run {run} is kept as {item.name!r}")


def show(item: Item, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show an item: where it came from, how good it was, what it takes; its file is checked."""
    from lit.trainer import vault
    from lit.trainer.trust import trusted

    workspace = workspace_of(team)
    found = vault.load(workspace, item)
    deployed = vault.deployments(workspace, item)
    if as_json:
        return typer.echo(json.dumps({**_record(found), "deployments": deployed, "lineage": found.lineage}))
    typer.echo(f"{found.name}: epoch {found.epoch} of run {found.project}/{found.run}, kept {found.created}")
    typer.echo(f"model    {found.model}  {found.digest}")
    typer.echo(f"takes    {', '.join(f'{spec.name} {spec.shape}' for spec in found.inputs)}")
    typer.echo(f"predicts {found.label.name} {found.label.shape}")
    typer.echo(f"asset    {found.lineage.get('asset', {}).get('digest') or 'none'}")
    if found.own_layers:
        allowed = "allowed here" if trusted(found) else f"refused: see `lit vault trust {item!r}`"
        typer.echo(f"code     {', '.join(found.own_layers)}, {allowed}")
    for title, text in (("tags", ", ".join(found.tags)), ("notes", found.notes), ("deployed", ", ".join(deployed))):
        if text:
            typer.echo(f"{title:<9}{text}")
    for name, value in found.metrics.items():
        typer.echo(f"  {name:<24}{value:.6g}")
    return None


def edit(
    item: Item,
    notes: Annotated[str | None, typer.Option(help="what to remember about it; replaces what is there")] = None,
    tags: Tags = None,
    team: Team = "demo",
) -> None:
    """Replace an item's notes or tags."""
    from lit.trainer import vault

    vault.edit(workspace_of(team), item, notes=notes, tags=tags)
    typer.echo(f"vault item {item!r} is changed")


def compare(
    items: Annotated[list[str], typer.Argument(help="vault items, two or more")],
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Set items side by side: metrics, and the settings that they differ in."""
    from rich.console import Console
    from rich.table import Table

    from lit.trainer import vault

    rows = vault.compare(workspace_of(team), items)
    if as_json:
        return typer.echo(json.dumps(rows))
    table = Table("", *items)
    for name, values in rows.items():
        table.add_row(name, *(f"{v:.6g}" if isinstance(v, float) else "" if v is None else str(v) for v in values))
    return Console().print(table)


def export(
    item: Item,
    folder: Annotated[Path, typer.Argument(help="a folder that does not exist yet")],
    onnx: Annotated[bool, typer.Option("--onnx", help="add model.onnx, for runtimes without Keras")] = False,
    team: Team = "demo",
) -> None:
    """Write a folder that predicts with Keras alone, on a machine without LIT."""
    from lit.serving.onnx_model import write_onnx
    from lit.trainer.export import export_item

    workspace = workspace_of(team)
    export_item(workspace, item, folder)
    if onnx:
        typer.echo("writing model.onnx, which takes some seconds", err=True)
        write_onnx(workspace, item, folder / "model.onnx")
    typer.echo(f"vault item {item!r} is exported: see {folder / 'README.md'}")


def code(item: Item, team: Team = "demo") -> None:
    """Print the component sources that an item's layers of the team's own come from, to read before `trust`."""
    from lit.trainer import vault

    found = vault.load(workspace_of(team), item)
    typer.echo(f"layers that are not Keras' own, or run code: {', '.join(found.own_layers) or 'none'}")
    for name, source in dict(found.lineage.get("components", {})).items() if found.own_layers else ():
        typer.echo(f"\n# {'-' * 20} {name}.py\n{source}")


def trust(
    item: Item,
    revoke: Annotated[bool, typer.Option("--revoke", help="take it back")] = False,
    team: Team = "demo",
) -> None:
    """Allow this machine to run the code of an item's own layers, exactly as `lit vault code` shows it.

    A model file never brings code along, so layers of the team's own are refused on loading until somebody who has
    read them says so here. The word counts for these very sources alone, and on this machine alone.
    """
    import getpass

    from lit.trainer import trust as word
    from lit.trainer import vault

    found = vault.load(workspace_of(team), item)
    if revoke:
        word.distrust(found)
        return typer.echo(f"the code of vault item {item!r} is no longer allowed")
    word.trust(found, by=getpass.getuser())
    return typer.echo(f"layers {', '.join(found.own_layers)} of vault item {item!r} may run on this machine")


def delete(
    item: Item,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    team: Team = "demo",
) -> None:
    """Delete an item for good; refused while a deployment uses it."""
    from lit.trainer import vault

    workspace = workspace_of(team)
    vault.load(workspace, item)
    if not yes and not typer.confirm(f"Delete vault item {item!r} for good?"):
        raise SystemExit(2)
    vault.delete(workspace, item)
    typer.echo(f"vault item {item!r} is deleted")


def _record(item: VaultItem) -> dict[str, Any]:
    return {
        "name": item.name,
        "project": item.project,
        "run": item.run,
        "epoch": item.epoch,
        "digest": item.digest,
        "created": item.created,
        "metrics": item.metrics,
        "notes": item.notes,
        "tags": list(item.tags),
        "features": list(item.features),
        "label": item.label.name,
        "path": str(item.path),
    }
