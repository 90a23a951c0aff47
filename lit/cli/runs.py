"""`lit runs`: trainings listed, followed and controlled."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.trainer.runfolder import RunFolder

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Run = Annotated[str, typer.Argument(help="a run, as PROJECT/NUMBER")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Runs: listed, followed, stopped, paused, resumed.")
    for name, command in (
        ("list", list_runs),
        ("show", show_run),
        ("follow", follow_run),
        ("stop", stop_run),
        ("pause", pause_run),
        ("resume", resume_run),
        ("devices", list_devices),
    ):
        group.command(name)(command)
    app.add_typer(group, name="runs")


def list_runs(
    project: Annotated[str | None, typer.Argument(help="only of this project")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """List runs with their state and best epoch."""
    from lit.trainer.runfolder import runs

    found = [_run_record(folder) for folder in runs(workspace_of(team), project)]
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

    folder = find_run(team, run)
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
    follow(find_run(team, run), as_json, stops=False)


def stop_run(run: Run, team: Team = "demo") -> None:
    """Stop a run between two steps."""
    from lit.trainer.experiments import stop

    stop(find_run(team, run))
    typer.echo(f"run {run} stops after its step; `lit runs resume {run}` goes on with it")


def pause_run(run: Run, team: Team = "demo") -> None:
    """Pause a run between two steps and free its device."""
    from lit.trainer.experiments import pause

    pause(find_run(team, run))
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

    folder = find_run(team, run)
    resume(folder, device=device, epochs=epochs, kafka=kafka())
    if detach:
        typer.echo(json.dumps({"run": folder.name}) if as_json else f"run {folder.name} goes on")
        return
    follow(folder, as_json)


def list_devices(as_json: AsJson = False) -> None:
    """List this machine's devices with the runs on each, the one that has it first."""
    from lit.settings import Settings
    from lit.trainer.backend import devices
    from lit.trainer.devicequeue import queue

    found = {device: queue(Settings().data, device) for device in devices()}
    if as_json:
        return typer.echo(json.dumps(found))
    for device, names in found.items():
        typer.echo(f"{device:<10}{', then '.join(names) or 'free'}")
    return None


def follow(folder: RunFolder, as_json: bool, stops: bool = True) -> None:
    """Show a run until it ends and print its summary."""
    record = watch(folder, stops)
    if as_json:
        typer.echo(json.dumps(record))
        return
    best = f"; best epoch {record['best_epoch']}: {_metrics(record['metrics'])}" if record["best_epoch"] else ""
    more = f"; `lit runs resume {folder.name}` goes on with it" if record["status"] in ("stopped", "paused") else ""
    typer.echo(f"run {folder.name} is {record['status']} after {record['epochs']} epochs{best}{more}")


def watch(folder: RunFolder, stops: bool = True) -> dict[str, Any]:
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


def find_run(team: str, named: str) -> RunFolder:
    """Return a run that is named as PROJECT/NUMBER."""
    from lit.streams.errors import UserError
    from lit.trainer.runfolder import RunFolder

    project, _, number = named.rpartition("/")
    if not project or not number.isdigit():
        raise UserError(f"run {named!r} is not of the form PROJECT/NUMBER, such as volatility/3")
    return RunFolder.find(workspace_of(team), project, int(number))


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
