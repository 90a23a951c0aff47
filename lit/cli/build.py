"""`lit build`: a schema into a dataset."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("build")(build_schema)


def build_schema(
    schema: Annotated[str, typer.Argument(help="name of the schema, a file in the team's schemas folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    workers: Annotated[int, typer.Option(min=1, help="feature workers that share the symbols")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Build a schema's dataset: files → Kafka → feature workers → the asset's queue (train.h5, test.h5)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lit.processors.build import BuildProgress, build
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.workspace import Workspace

    settings, console = Settings(), Console(stderr=True)
    workspace = Workspace(settings.data, team)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    with (
        kafka(settings.data, settings.kafka) as bootstrap,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        tasks = {stage: bar.add_task(stage, total=None, detail="") for stage in ("replay", "features", "merge")}

        def show(progress: BuildProgress) -> None:
            bar.update(tasks[progress.stage], completed=progress.done, total=progress.total, detail=progress.detail)

        done = build(
            workspace,
            schema,
            bootstrap,
            workers=workers,
            replication=settings.replication,
            on_progress=show,
        )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(done)))
        return
    typer.echo(
        f"build {done.build}: {done.ticks:,} ticks → {done.samples:,} samples in {done.seconds:.1f} s "
        f"({done.ticks / done.seconds:,.0f} ticks/s); "
        + ", ".join(f"{part} {facts['samples']:,} ({facts['digest'][:19]}…)" for part, facts in done.parts.items())
    )
