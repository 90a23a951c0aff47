"""`lit verify …`: the promises, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lit.cli.features import judge
from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.processors.verify import Verdict

_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    verify = typer.Typer(no_args_is_help=True, help="Check the promises; exit code 1 if one does not hold.")
    verify.command("parity")(parity)
    verify.command("dataset")(dataset)
    verify.command("lookahead")(judge)
    app.add_typer(verify, name="verify")


def parity(
    source: Annotated[str, typer.Argument(help="the stream")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    interval: Annotated[str, typer.Option(help="bar interval")] = "1minute",
    schema: Annotated[str, typer.Option(help="compare this schema's live features instead of bars")] = "",
) -> None:
    """Compare a stream's published bars (or features) with those that its recorded ticks make, byte for byte."""
    from lit.features.intervals import Interval
    from lit.processors.live_features import live_features
    from lit.processors.verify import verify_features, verify_parity
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.workspace import Workspace

    settings = Settings()
    wanted = Interval.parse(interval)
    with kafka(settings.data, settings.kafka) as bootstrap:
        if schema:
            workspace = Workspace(settings.data, team)
            config = live_features(workspace, source, schema, bootstrap)
            _tell("feature vectors", verify_features(workspace, config))
            return
        _tell("bars", verify_parity(bootstrap, team, source, wanted))


def dataset(
    schema: Annotated[str, typer.Argument(help="the asset's schema")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    samples: Annotated[int, typer.Option(min=1, help="random samples of train and of test each")] = 200,
    seed: Annotated[int, typer.Option(help="which samples")] = 0,
) -> None:
    """Recompute random samples of an asset from its raw files and compare bytes."""
    from lit.processors.verify import verify_dataset

    _tell("samples", verify_dataset(workspace_of(team), schema, samples, seed))


def _tell(what: str, verdict: Verdict) -> None:
    for difference in verdict.differences[:_SHOWN]:
        typer.echo(difference)
    if verdict.unknown:
        typer.echo(f"{verdict.unknown:,} {what} were made by scripts that no build kept: they are not compared")
    typer.echo(f"{verdict.compared:,} {what} compared, {len(verdict.differences):,} differ")
    if verdict.differences or not verdict.compared:
        raise typer.Exit(1)
