"""`lit train --sweep` and `lit sweeps`: many trainings of one canvas that look for its best properties."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.cli.runs import kafka
from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.workspace import Workspace
    from lit.trainer.canvas import Canvas
    from lit.trainer.sweep import Sweep, TrialRecord

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Name = Annotated[str, typer.Argument(help="a sweep")]
Detach = Annotated[bool, typer.Option("--detach", help="return at once")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Sweeps: searches for the best properties of a canvas.")
    for name, command in (
        ("list", list_sweeps),
        ("show", show_sweep),
        ("follow", follow_sweep),
        ("stop", stop_sweep),
        ("resume", resume_sweep),
    ):
        group.command(name)(command)
    app.add_typer(group, name="sweeps")


def read_plan(file: Path | None, vary: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return what a sweep is to do: a JSON file's entries, what the command line varies, and its other options."""
    from lit.streams.errors import UserError
    from lit.trainer.searchspace import read_choices

    plan: dict[str, Any] = {}
    if file:
        try:
            plan = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"sweep file {str(file)!r} is not readable as JSON: {error}") from error
        if not isinstance(plan, dict) or not isinstance(plan.get("space", {}), dict):
            raise UserError(f'sweep file {str(file)!r} is not of the form {{"space": {{"node.property": "range"}}, …}}')
    plan["space"] = plan.get("space", {})
    for text in vary:
        plan["space"] |= read_choices(text)
    return plan | {name: value for name, value in options.items() if value}


def launch(workspace: Workspace, design: Canvas, plan: dict[str, Any], detach: bool, as_json: bool) -> None:
    """Start a sweep and, unless detached, show it to its end."""
    from dataclasses import fields

    from lit.streams.errors import UserError
    from lit.trainer.sweep import Plan, start

    name, description = plan.pop("name", None), plan.pop("description", "")
    known = {each.name for each in fields(Plan)}
    if extra := plan.keys() - known:
        raise UserError(f"a sweep has no {sorted(extra)[0]!r}: it has {', '.join(sorted(known | {'name'}))}")
    plan["devices"] = tuple(plan.get("devices") or ("cpu",))
    sweep = start(workspace, design, Plan(**plan), name=name, description=description, kafka=kafka())
    if detach:
        typer.echo(json.dumps({"sweep": sweep.name}) if as_json else f"sweep {sweep.name!r} is started: {sweep.path}")
        return
    _follow(sweep, as_json, stops=True)


def list_sweeps(team: Team = "demo", as_json: AsJson = False) -> None:
    """List sweeps with their state and best trial."""
    from lit.trainer.sweep import sweeps

    found = [_record(each) for each in sweeps(workspace_of(team))]
    if as_json:
        return typer.echo(json.dumps(found))
    for each in found:
        typer.echo(_line(each))
    if not found:
        typer.echo(f"team {team!r} has no sweeps yet; `lit train CANVAS --vary node.property=RANGE` starts one")
    return None


def show_sweep(sweep: Name, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show a sweep: its state, and each trial with its run, its properties and what came of it."""
    from dataclasses import asdict

    found = _find(team, sweep)
    trials = found.trials()
    if as_json:
        record = {**_record(found), "plan": found.definition["plan"], "trials_done": [asdict(each) for each in trials]}
        return typer.echo(json.dumps(record))
    typer.echo(_line(_record(found)))
    for each in trials:
        typer.echo(_trial_line(each, found))
    return None


def follow_sweep(sweep: Name, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show trials as they end, until the sweep does; Ctrl-C leaves the sweep alone."""
    _follow(_find(team, sweep), as_json, stops=False)


def stop_sweep(sweep: Name, team: Team = "demo") -> None:
    """Stop a sweep and its runs between two steps."""
    from lit.trainer.sweep import stop

    stop(_find(team, sweep))
    typer.echo(f"sweep {sweep!r} stops; `lit sweeps resume {sweep!r}` goes on with it")


def resume_sweep(
    sweep: Name,
    team: Team = "demo",
    trials: Annotated[int | None, typer.Option(min=1, help="trials in all; unset: as before")] = None,
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep that was stopped or killed, or do more trials of a finished one."""
    from lit.trainer.sweep import resume

    found = resume(_find(team, sweep), trials=trials, kafka=kafka())
    if detach:
        return typer.echo(json.dumps({"sweep": found.name}) if as_json else f"sweep {found.name!r} goes on")
    return _follow(found, as_json, stops=True)


def _follow(sweep: Sweep, as_json: bool, stops: bool) -> None:
    """Show trials on standard error as they end; Ctrl-C may stop the sweep."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lit.streams.errors import FaultError
    from lit.trainer.processfolder import ENDED
    from lit.trainer.sweep import stop

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown: set[int] = set()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"sweep {sweep.name}", total=sweep.plan.trials)
        while True:
            try:
                ended = sweep.status() in ENDED  # asked before reading, so that no trial is missed
                for each in sweep.trials():
                    if each.state != "running" and each.number not in shown:
                        shown.add(each.number)
                        console.print(_trial_line(each, sweep), soft_wrap=True, markup=False)
                bar.update(task, completed=len(shown))
                if ended:
                    break
                time.sleep(0.2)
            except KeyboardInterrupt:
                if not stops:
                    raise SystemExit(130) from None
                if sweep.active():
                    stop(sweep)
    if sweep.status() == "failed":
        reason = sweep.why_failed()
        raise FaultError(f"sweep {sweep.name!r} failed: {reason}; `lit sweeps resume {sweep.name!r}` goes on with it")
    record = _record(sweep)
    typer.echo(json.dumps(record) if as_json else _line(record))


def _record(sweep: Sweep) -> dict[str, Any]:
    trials, best = sweep.trials(), sweep.best()
    found = {"run": f"{sweep.project}/{best.run}", "epoch": best.epoch, "value": best.value} if best else None
    return {
        "sweep": sweep.name,
        "status": sweep.status(),
        "metric": sweep.plan.metric,
        "trials": sweep.plan.trials,
        "done": sum(each.state != "running" for each in trials),
        "best": {**found, "trial": best.number, "params": best.params} if best and found else None,
    }


def _line(record: dict[str, Any]) -> str:
    best = record["best"]
    text = f"sweep {record['sweep']} is {record['status']}: {record['done']} of {record['trials']} trials"
    if not best:
        return text
    params = ", ".join(f"{name} {_short(value)}" for name, value in best["params"].items())
    return (
        f"{text}; best is trial {best['trial']}, run {best['run']} epoch {best['epoch']} with {record['metric']} "
        f"{best['value']:.6g} ({params}); `lit vault add {best['run']} --epoch {best['epoch']}` keeps it"
    )


def _trial_line(trial: TrialRecord, sweep: Sweep) -> str:
    value = f"{sweep.plan.metric} {trial.value:.6g} in epoch {trial.epoch}" if trial.value is not None else trial.error
    params = ", ".join(f"{name} {_short(value)}" for name, value in trial.params.items())
    return f"trial {trial.number:<4}{trial.state:<10}run {sweep.project}/{trial.run}  {value}  ({params})"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _find(team: str, name: str) -> Sweep:
    from lit.trainer.sweep import find

    return find(workspace_of(team), name)
