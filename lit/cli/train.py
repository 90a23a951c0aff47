"""`lit train` and `lit runs`: trainings started, followed and controlled."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lit.streams.workspace import Workspace
    from lit.trainer.asset import FeatureSpec
    from lit.trainer.canvas import Canvas
    from lit.trainer.folds import Fold
    from lit.trainer.runfolder import RunFolder

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Device = Annotated[str, typer.Option(help="where to train: cpu, gpu:0…")]
Epochs = Annotated[int | None, typer.Option(min=1, help="epochs in all; unset: as the Globals node says")]
Run = Annotated[str, typer.Argument(help="a run, as PROJECT/NUMBER")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    group = typer.Typer(no_args_is_help=True, help="Runs: listed, followed, stopped, paused, resumed.")
    for name, command in (
        ("list", list_runs),
        ("show", show_run),
        ("follow", follow_run),
        ("stop", stop_run),
        ("pause", pause_run),
        ("resume", resume_run),
    ):
        group.command(name)(command)
    app.add_typer(group, name="runs")


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
    horizon: Annotated[float | None, typer.Option(help="with folds: how far labels look ahead, in seconds")] = None,
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
    from lit.trainer.experiments import start
    from lit.trainer.folds import Fold

    workspace = _workspace(team)
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
        if horizon is None or detach:
            raise UserError("folds need --horizon, how far labels look ahead in seconds, and cannot be detached")
        series = [Fold(number, folds, horizon, embargo, fold_kind) for number in range(1, folds + 1)]
        return _train_folds(workspace, design, series, as_json, **options)
    folder = start(workspace, design, **options)
    if detach:
        typer.echo(json.dumps({"run": folder.name}) if as_json else f"run {folder.name} is started: {folder.path}")
        return None
    return _follow(folder, as_json)


def list_runs(
    project: Annotated[str | None, typer.Argument(help="only of this project")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List runs with their state and best epoch."""
    from lit.trainer.runfolder import runs

    found = [_run_record(folder) for folder in runs(_workspace(team), project)]
    if as_json:
        return typer.echo(json.dumps(found))
    for run in found:
        best = f"best epoch {run['best_epoch']}: {_metrics(run['metrics'])}" if run["best_epoch"] else ""
        typer.echo(f"{run['run']:<24}{run['status']:<10}{run['epochs']:>5} epochs  {best}".rstrip())
    if not found:
        typer.echo(f"team {team!r} has no runs yet; `lit train CANVAS` starts one")
    return None


def show_run(run: Run, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show a run: its state, its epochs, what of it is in the vault, its last log lines."""
    from lit.trainer.vault import kept_epochs_of

    folder = _run(team, run)
    kept = kept_epochs_of(folder.workspace).get(folder.name, {})
    record = {**_run_record(folder), "path": str(folder.path), "perf": folder.perf(), "vault": kept}
    if as_json:
        return typer.echo(json.dumps(record))
    typer.echo(f"run {folder.name} is {record['status']}: {folder.path}")
    for row in folder.perf():
        names = kept.get(int(row["epoch"]), [])
        typer.echo(_epoch_line(row, 0) + (f"  vault: {', '.join(names)}" if names else ""))
    for line in folder.log_tail(5):
        typer.echo(f"  {line}")
    return None


def follow_run(run: Run, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show a run's epochs as they come, until it ends; Ctrl-C leaves the run alone."""
    _follow(_run(team, run), as_json, stops=False)


def stop_run(run: Run, team: Team = "demo") -> None:
    """Stop a run between two steps."""
    from lit.trainer.experiments import stop

    stop(_run(team, run))
    typer.echo(f"run {run} stops after its step; `lit runs resume {run}` goes on with it")


def pause_run(run: Run, team: Team = "demo") -> None:
    """Pause a run between two steps and free its device."""
    from lit.trainer.experiments import pause

    pause(_run(team, run))
    typer.echo(f"run {run} pauses after its step; `lit runs resume {run}` goes on with it")


def resume_run(
    run: Run,
    team: Team = "demo",
    device: Annotated[str | None, typer.Option(help="where to go on; unset: where it was")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="epochs in all; unset: as before")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="return at once")] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run exactly where it was, on another device or for more epochs if asked."""
    from lit.trainer.experiments import resume

    folder = _run(team, run)
    resume(folder, device=device, epochs=epochs, kafka=kafka())
    if detach:
        typer.echo(json.dumps({"run": folder.name}) if as_json else f"run {folder.name} goes on")
        return
    _follow(folder, as_json)


def _train_folds(workspace: Workspace, design: Canvas, series: list[Fold], as_json: bool, **options: Any) -> None:
    """Train one run a fold, one after another; sum up each metric of their best epochs."""
    from statistics import fmean, stdev

    from lit.trainer.experiments import start

    records: list[dict[str, Any]] = []
    for fold in series:
        records.append(_watch(start(workspace, design, fold=fold, **options)))
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


def _follow(folder: RunFolder, as_json: bool, stops: bool = True) -> None:
    """Show a run until it ends and print its summary."""
    record = _watch(folder, stops)
    if as_json:
        typer.echo(json.dumps(record))
        return
    best = f"; best epoch {record['best_epoch']}: {_metrics(record['metrics'])}" if record["best_epoch"] else ""
    more = f"; `lit runs resume {folder.name}` goes on with it" if record["status"] in ("stopped", "paused") else ""
    typer.echo(f"run {folder.name} is {record['status']} after {record['epochs']} epochs{best}{more}")


def _watch(folder: RunFolder, stops: bool = True) -> dict[str, Any]:
    """Show epochs on standard error until the run ends, a bar on a terminal, lines otherwise; Ctrl-C may stop it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lit.streams.records import Event
    from lit.trainer.experiments import stop, wait

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"run {folder.name}", total=None)

        def show(event: Event) -> None:
            if event.status == "running":
                bar.update(task, total=event.detail.get("epochs"), completed=event.detail.get("epoch", 0))
            elif event.status == "epoch":
                bar.update(task, completed=event.detail["epoch"])
                console.print(_epoch_line(event.detail, int(bar.tasks[0].total or 0)), soft_wrap=True)

        try:
            wait(folder, on_event=show)
        except KeyboardInterrupt:
            if not stops:
                raise SystemExit(130) from None
            while folder.status() == "queued" and not folder.alive():
                time.sleep(0.1)  # it is just being started and can't be signalled yet
            if folder.alive():
                stop(folder)
            wait(folder)
    return {**_run_record(folder), "path": str(folder.path)}


def _check(workspace: Workspace, design: Canvas, as_json: bool) -> None:
    from dataclasses import asdict

    from lit.trainer.compiler import compile_canvas
    from lit.trainer.component import load_components

    compiled = compile_canvas(design, load_components(workspace), _features(workspace, design))
    if as_json:
        typer.echo(json.dumps({"nodes": [asdict(node) for node in compiled.nodes]}))
        return
    for node in compiled.nodes:
        shape = " × ".join("any" if size is None else str(size) for size in node.shape)
        typer.echo(f"{node.node:<20}{node.component:<20}{shape:<20}{node.parameters:>12,} weights")
    typer.echo(f"{'in all':<60}{sum(node.parameters for node in compiled.nodes):>12,} weights")


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
    from lit.streams.errors import UserError
    from lit.trainer.asset import Asset, asset_path

    asset = design.settings.get("asset")
    if not asset:
        raise UserError(f"canvas {design.name!r} does not say its asset: fill in its settings, or name one by --asset")
    with Asset(asset_path(workspace, str(asset))[0]) as part:
        return part.features


def _canvas(workspace: Workspace, named: str) -> Canvas:
    from lit.streams.errors import UserError
    from lit.trainer.canvas import load_canvas, parse_canvas

    if not named.endswith(".json"):
        return load_canvas(workspace, named)
    try:
        return parse_canvas(Path(named).read_bytes())
    except OSError as error:
        raise UserError(f"canvas file {named!r} is not readable: {error.strerror}") from error


def _run(team: str, named: str) -> RunFolder:
    from lit.streams.errors import UserError
    from lit.trainer.runfolder import RunFolder

    project, _, number = named.rpartition("/")
    if not project or not number.isdigit():
        raise UserError(f"run {named!r} is not of the form PROJECT/NUMBER, such as volatility/3")
    return RunFolder.find(_workspace(team), project, int(number))


def _run_record(folder: RunFolder) -> dict[str, Any]:
    from lit.trainer.experiments import summary

    found = summary(folder)
    return {
        "run": folder.name,
        "status": found.status,
        "epochs": found.epochs,
        "best_epoch": found.best_epoch,
        "metrics": found.metrics,
    }


def _epoch_line(row: dict[str, float], epochs: int) -> str:
    of = f"/{epochs}" if epochs else ""
    return f"epoch {int(row['epoch'])}{of}  {_metrics(row)}  ({row.get('seconds', 0):g} s)"


def _metrics(row: dict[str, float]) -> str:
    """Write losses and validation metrics; what a guess would get is left to perf.csv."""
    shown = {
        name: value
        for name, value in row.items()
        if name == "loss" or (name.startswith("val_") and not name.startswith("val_base_"))
    }
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items())


def kafka() -> str | None:
    """Return where events may go: the configured cluster, or a running broker; none is started for it."""
    from lit.settings import Settings
    from lit.streams.broker import EmbeddedBroker

    settings = Settings()
    return settings.kafka or EmbeddedBroker(settings.data).running()


def _workspace(team: str) -> Workspace:
    from lit.settings import Settings
    from lit.streams.workspace import Workspace

    return Workspace(Settings().data, team)
