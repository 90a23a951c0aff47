"""`lit assets …`: what was built, looked at, audited, and put into production."""

from __future__ import annotations

import getpass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.store import TickStore
    from lit.streams.workspace import Workspace
    from lit.trainer.asset_sample import AssetSample
    from lit.trainer.audit import Audit


class Part(StrEnum):
    """A part of an asset."""

    train = "train"
    test = "test"


Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Schema = Annotated[str, typer.Argument(help="the asset, by the name of its schema")]
Queue = Annotated[bool, typer.Option("--queue", help="the version in the queue, also if one is promoted")]
Note = Annotated[str, typer.Option(help="why; kept in the record")]
By = Annotated[str, typer.Option(help="who; unset: the user of this machine")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Built datasets: looked at, audited, put into production.")
    for name, command in (
        ("list", list_assets),
        ("show", show),
        ("sample", sample),
        ("audit", audit),
        ("promote", promote),
        ("demote", demote),
        ("verify", verify),
    ):
        group.command(name)(command)
    app.add_typer(group, name="assets")


def list_assets(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the assets: promoted (by whom), queued, or moved by hand."""
    from lit.trainer.promotions import statuses

    found = statuses(workspace_of(team))
    if as_json:
        return _json(found)
    if not found:
        return typer.echo(f"team {team!r} has no assets yet; `lit build SCHEMA` makes one")
    from lit.cli.asset_tables import assets_table, console

    return console().print(assets_table(found))


def show(schema: Schema, team: Team = "demo", queue: Queue = False, as_json: AsJson = False) -> None:
    """Show an asset: state, digests, features with their columns, files that it is made of, and its record."""
    from lit.trainer.promotions import history
    from lit.trainer.promotions import status as status_of

    workspace = workspace_of(team)
    found, records = status_of(workspace, schema), history(workspace, schema)
    with _open(workspace, schema, "train", queue) as part:
        features = {
            name: {"shape": list(one.shape), "columns": list(one.columns)} for name, one in part.features.items()
        }
        frozen, digest = part.schema, part.digest
    if as_json:
        return _json({"status": found, "features": features, "schema": frozen, "history": records})
    shown = found.queue if queue or not found.promoted else found.promoted
    typer.echo(f"{schema}: {found.state}; train {digest}")
    for name, count in (shown.samples if shown else {}).items():
        typer.echo(f"  {name:<8}{count:>12,} samples  {shown.digests[name] if shown else ''}")
    for name, one in features.items():
        typer.echo(f"  {name:<20}{one['shape']!s:<12}{', '.join(one['columns'])}")
    for path, content in frozen.get("files", {}).items():
        typer.echo(f"  from {path}  {content}")
    for record in records:
        typer.echo(f"  {record.at} {record.action}d by {record.by}{': ' + record.note if record.note else ''}")
    return None


def sample(
    schema: Schema,
    index: Annotated[int | None, typer.Option(help="which sample of the part, from 0; negative: from the end")] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="any sample; --seed says which")] = False,
    seed: Annotated[int | None, typer.Option(help="draws the sample: the same seed, the same sample")] = None,
    part: Annotated[Part, typer.Option(help="train or test")] = Part.train,
    packet: Annotated[bool, typer.Option(help="with the tick that it was made at")] = True,
    queue: Queue = False,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Show one sample as tables and charts, with its source packet: by --index, or any one (--shuffle, --seed)."""
    import secrets

    from lit.streams.errors import UserError
    from lit.trainer.asset_sample import random_number, sample_of

    if index is not None and (shuffle or seed is not None):
        raise UserError(f"--index {index} names a sample, --shuffle or --seed draw one: give one of them")
    workspace = workspace_of(team)
    with _open(workspace, schema, part.value, queue) as opened:
        drawn = index if index is not None else random_number(opened, secrets.randbits(32) if seed is None else seed)
        found = sample_of(opened, drawn)
        if packet:
            found = _with_packet(workspace, opened.schema, found)
    if as_json:
        return _json(found)
    from lit.cli.asset_tables import console, sample_lines

    return _print(console(), sample_lines(found))


def audit(
    schema: Schema,
    team: Team = "demo",
    queue: Queue = False,
    html: Annotated[Path | None, typer.Option(help="write the report as one HTML file")] = None,
    as_json: AsJson = False,
) -> None:
    """Audit an asset: statistics, drift, duplicates, leaks into the test span; kept beside it as audit.json."""
    workspace = workspace_of(team)
    found = _audited(_version(workspace, schema, queue))
    if as_json:
        return _json(found)
    from lit.cli.asset_tables import audit_tables, console, save_html

    if html:
        save_html(html, f"asset {schema} of team {team}", audit_tables(found))
        return typer.echo(f"the audit of {schema!r} is in {html}")
    return _print(console(), audit_tables(found))


def promote(schema: Schema, note: Note = "", by: By = "", team: Team = "demo", as_json: AsJson = False) -> None:
    """Put the queued version into production, where trainings find it; its content is verified first."""
    from lit.trainer import promotions

    record = promotions.promote(workspace_of(team), schema, by or getpass.getuser(), note)
    if as_json:
        return _json(record)
    replaced = f", in place of {record.replaces['train'][:19]}…" if record.replaces else ""
    typer.echo(f"asset {schema!r} is promoted by {record.by}: {record.digests['train'][:19]}…{replaced}")
    if not record.audited:
        typer.echo(f"nobody has audited this version: `lit assets audit {schema!r}` does", err=True)
    return None


def demote(schema: Schema, note: Note = "", by: By = "", team: Team = "demo", as_json: AsJson = False) -> None:
    """Take an asset out of production, back into its queue; trainings that read it go on."""
    from lit.trainer import promotions

    record = promotions.demote(workspace_of(team), schema, by or getpass.getuser(), note)
    return _json(record) if as_json else typer.echo(f"asset {schema!r} is demoted by {record.by}: it is in its queue")


def verify(schema: Schema, team: Team = "demo", queue: Queue = False, as_json: AsJson = False) -> None:
    """Digest an asset's content anew and compare; exit code 1 if it is not what it says.

    `lit verify dataset` goes further: it recomputes samples from the raw files.
    """
    from lit.trainer.promotions import verify as verified

    found = verified(workspace_of(team), schema, "queue" if queue else None)
    if as_json:
        _json(found)
    else:
        for one in found:
            typer.echo(f"{one.part:<6} {'intact' if one.intact else f'CHANGED, states {one.stated}':<8} {one.found}")
    if not all(one.intact for one in found):
        raise typer.Exit(1)


def _audited(folder: Path) -> Audit:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lit.trainer.audit_file import audited

    shown = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("audit", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)
            if not shown.is_terminal:
                typer.echo(f"audit: {what}, {done} of {total} features", err=True)

        return audited(folder, tell)


def _with_packet(workspace: Workspace, schema: dict[str, Any], found: AssetSample) -> AssetSample:
    import msgspec

    from lit.settings import Settings
    from lit.streams.errors import LitError
    from lit.streams.store_open import open_store, running_server
    from lit.streams.tick import from_iso
    from lit.trainer.source_packet import source_packet

    if found.index is None or found.timestamp is None:
        return found
    settings = Settings()

    def packet(store: TickStore | None) -> AssetSample:
        assert found.index is not None and found.timestamp is not None
        tick = source_packet(workspace, schema, found.index, from_iso(found.timestamp), store)
        return msgspec.structs.replace(found, packet=tick)

    try:
        if not settings.clickhouse and not running_server(settings.data):  # the file is nearer than a store's start
            return packet(None)
        with open_store(settings.data, settings.clickhouse) as stores:
            return packet(stores.team(workspace.team))
    except LitError as error:
        return msgspec.structs.replace(found, packet_error=str(error))


def _version(workspace: Workspace, schema: str, queue: bool) -> Path:
    from lit.trainer.promotions import version_folder

    return version_folder(workspace, schema, "queue" if queue else None)


def _open(workspace: Workspace, schema: str, part: str, queue: bool) -> Any:
    from lit.trainer.asset import Asset

    return Asset(_version(workspace, schema, queue) / f"{part}.h5")


def _print(console: Any, lines: Any) -> None:
    for line in lines:
        console.print(line)


def _json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
