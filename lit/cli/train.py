"""`lit train`: a canvas checked, written as a program, trained once, over folds, or searched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.cli.runs import follow, kafka, watch
from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.workspace import Workspace
    from lit.trainer.asset import FeatureSpec
    from lit.trainer.canvas import Canvas
    from lit.trainer.folds import Fold

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Device = Annotated[str, typer.Option(help="where to train: cpu, gpu:0…")]
Epochs = Annotated[int | None, typer.Option(min=1, help="epochs in all; unset: as the Globals node says")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train)


def train(
    canvas: Annotated[str, typer.Argument(help="a canvas: its name, or a JSON file")],
    team: Team = "demo",
    project: Annotated[str | None, typer.Option(help="the run's project; unset: the canvas' own")] = None,
    asset: Annotated[str | None, typer.Option(help="the asset to train on; unset: the canvas' own")] = None,
    device: Device = "cpu",
    epochs: Epochs = None,
    description: Annotated[str, typer.Option(help="what is tried")] = "",
    folds: Annotated[
        int, typer.Option(help="validate in time: a run for each of so many folds of the training samples")
    ] = 0,
    horizon: Annotated[
        float | None,
        typer.Option(help="with folds: how far labels look ahead, in seconds; unset: as the script does"),
    ] = None,
    embargo: Annotated[float, typer.Option(help="with folds: further distance to validation samples, seconds")] = 0.0,
    fold_kind: Annotated[
        str, typer.Option(help="walk (forward) or purged (k-fold, trains on what follows too)")
    ] = "walk",
    sweep: Annotated[
        Path | None, typer.Option(help="search for the best properties: a JSON file with a space, trials, metric…")
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(help="search over node.property=RANGE: 0.001..0.1 log, 16..256 step 16, 32 | 64; repeatable"),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="of a search: how many trainings")] = None,
    check: Annotated[bool, typer.Option("--check", help="show what each node becomes, and train nothing")] = False,
    script: Annotated[
        Path | None, typer.Option(help="write a program that builds the model with Keras alone, and train nothing")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="return as soon as the run is started")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a canvas' model as a run in a process of its own.

    Ctrl-C stops the run between two steps; `lit runs resume` goes on with it exactly there. With folds, the runs go one
    after another on the training samples alone, without those whose labels overlap with what they are judged by. With
    `--sweep` or `--vary`, many runs look for the best properties; `lit sweeps` tells of them.
    """
    from lit.cli.sweeps import launch, read_plan
    from lit.streams.errors import UserError
    from lit.trainer.experiments import label_horizon, start
    from lit.trainer.folds import Fold

    workspace = workspace_of(team)
    design = _canvas(workspace, canvas)
    design.settings |= {name: value for name, value in (("project", project), ("asset", asset)) if value}
    if script:
        return _write_script(workspace, design, script)
    if check:
        return _check(workspace, design, as_json)
    if sweep or vary:
        chosen: dict[str, Any] = {"trials": trials, "epochs": epochs, "description": description}
        chosen["devices"] = [device] if device != "cpu" else None
        return launch(workspace, design, read_plan(sweep, vary or [], chosen), detach, as_json)
    options: dict[str, Any] = {"device": device, "epochs": epochs, "description": description, "kafka": kafka()}
    if folds:
        if detach:
            raise UserError("folds go one after another and cannot be detached: leave out --detach")
        if horizon is None:
            horizon = label_horizon(workspace, design)
        series = [Fold(number, folds, horizon, embargo, fold_kind) for number in range(1, folds + 1)]
        return _train_folds(workspace, design, series, as_json, **options)
    folder = start(workspace, design, **options)
    if detach:
        typer.echo(json.dumps({"run": folder.name}) if as_json else f"run {folder.name} is started: {folder.path}")
        return None
    return follow(folder, as_json)


def _train_folds(workspace: Workspace, design: Canvas, series: list[Fold], as_json: bool, **options: Any) -> None:
    """Train one run a fold, one after another; sum up each metric of their best epochs."""
    from statistics import fmean, stdev

    from lit.trainer.experiments import start

    records: list[dict[str, Any]] = []
    for fold in series:
        records.append(watch(start(workspace, design, fold=fold, **options)))
        if records[-1]["status"] != "finished":
            break
    names = [name for name in records[0]["metrics"] if name.startswith("val_")]
    columns = {name: [record["metrics"][name] for record in records if name in record["metrics"]] for name in names}
    spread = {
        name: {"mean": fmean(values), "deviation": stdev(values) if len(values) > 1 else 0.0}
        for name, values in columns.items()
    }
    if as_json:
        return typer.echo(json.dumps({"runs": records, "metrics": spread}))
    for record in records:
        typer.echo(f"run {record['run']} is {record['status']}; best epoch {record['best_epoch']}")
    for name, of in spread.items():
        typer.echo(f"  {name:<28}{of['mean']:.4g} ± {of['deviation']:.2g}")
    return None


def _check(workspace: Workspace, design: Canvas, as_json: bool) -> None:
    from dataclasses import asdict

    from lit.streams.errors import UserError
    from lit.trainer.asset import asset_path
    from lit.trainer.component import load_components
    from lit.trainer.inspection import inspect_canvas

    path = asset_path(workspace, _asset(design))[0]
    found = inspect_canvas(design, load_components(workspace), path)
    if found.problems:
        raise UserError(f"canvas {design.name!r}: " + "; ".join(map(str, found.problems)))
    if as_json:
        nodes = [asdict(node) for node in found.nodes]
        return typer.echo(json.dumps({"nodes": nodes, "task": found.task, "loss": found.loss}))
    for node in found.nodes:
        shape = " × ".join("any" if size is None else str(size) for size in node.shape)
        typer.echo(f"{node.node:<20}{node.component:<20}{shape:<20}{node.parameters:>12,} weights")
    return typer.echo(f"{'in all':<60}{found.parameters:>12,} weights; {found.task}, loss {found.loss}")


def _write_script(workspace: Workspace, design: Canvas, path: Path) -> None:
    from lit.streams.errors import UserError
    from lit.trainer.component import load_components
    from lit.trainer.script import as_script

    text = as_script(design, load_components(workspace), _features(workspace, design))
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"script {str(path)!r} can't be written: {error.strerror}") from error
    typer.echo(f"{path} builds the model of canvas {design.name!r} with Keras alone")


def _features(workspace: Workspace, design: Canvas) -> dict[str, FeatureSpec]:
    from lit.trainer.asset import Asset, asset_path

    with Asset(asset_path(workspace, _asset(design))[0]) as part:
        return part.features


def _asset(design: Canvas) -> str:
    from lit.streams.errors import UserError

    if not (asset := design.settings.get("asset")):
        raise UserError(f"canvas {design.name!r} does not say its asset: fill in its settings, or name one by --asset")
    return str(asset)


def _canvas(workspace: Workspace, named: str) -> Canvas:
    from lit.streams.errors import UserError
    from lit.trainer.canvas import load_canvas, parse_canvas

    if not named.endswith(".json"):
        return load_canvas(workspace, named)
    try:
        return parse_canvas(Path(named).read_bytes())
    except OSError as error:
        raise UserError(f"canvas file {named!r} is not readable: {error.strerror}") from error
