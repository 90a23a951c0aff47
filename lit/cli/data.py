"""`lit replay`: files into Kafka as ticks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lit.streams.timeline import Pace


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay_files)


def replay_files(
    files: Annotated[list[Path], typer.Argument(help="tick files, in the order of their time")],
    stream: Annotated[str, typer.Option(help="name of the stream: the ticks go to its topic")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    adapter: Annotated[str, typer.Option(help="the source adapter that reads the files")] = "refinitiv",
    param: Annotated[list[str] | None, typer.Option(help="a parameter of the adapter, as time_zone=UTC")] = None,
    speed: Annotated[str, typer.Option(help="max, or seconds of the market a second: 1, 60…")] = "max",
    start: Annotated[str, typer.Option(help="ISO time; with a speed: ticks before it go out at once")] = "",
    end: Annotated[bool, typer.Option(help="end each symbol's sequence behind the last file")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Replay files as ticks, as fast as Kafka takes them or at a speed.

    Each file is read to its end first, so that none is half-accepted. Stopped or killed, the same command goes on where
    it stopped; run again after its end, it does nothing.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lit.cli.files import parameters_of
    from lit.settings import Settings
    from lit.signals import halting
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.live import stream_path
    from lit.streams.replay import ReplayProgress, plan_files, replay
    from lit.streams.workspace import Workspace, removal_of

    settings, console = Settings(), Console(stderr=True)
    pace = _pace(speed, start)
    workspace = Workspace(settings.data, team)
    plan = plan_files(workspace, adapter, files, parameters_of(workspace, adapter, param))
    topic = topics.file_ticks(team, stream)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    removal_of(stream_path(workspace, stream)).unlink(missing_ok=True)  # workers take its ticks again
    with (
        halting() as stop,
        kafka(settings.data, settings.kafka) as bootstrap,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        topics.create_topics(bootstrap, topic, replication=settings.replication)
        task = bar.add_task(f"{len(files)} files", total=plan.raw_bytes, rate="")

        def show(progress: ReplayProgress) -> None:
            rate = f"{progress.ticks / max(progress.seconds, 1e-9):,.0f} ticks/s"
            bar.update(task, completed=progress.read_bytes, rate=rate)

        done = replay(bootstrap, topic.name, plan, pace=pace, end_marks=end, stop=stop, on_progress=show)
    summary = {
        "topic": topic.name,
        "ticks": done.ticks,
        "sent": done.sent,
        "late": done.late,
        "rejects": dict(done.rejects),
        "symbols": done.symbols,
        "seconds": round(done.seconds, 3),
        "stopped": done.stopped,
    }
    typer.echo(json.dumps(summary) if as_json else _sentence(summary))


def _pace(speed: str, start: str) -> Pace | None:
    from lit.streams.errors import UserError
    from lit.streams.timeline import checked_pace

    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        raise UserError(f"speed {speed!r} is neither max nor a number such as 1 or 60") from None
    return checked_pace(factor, start or None)


def _sentence(summary: dict[str, object]) -> str:
    if summary["stopped"]:
        return f"stopped: {summary['sent']:,} ticks sent to {summary['topic']}; the same command goes on from here"
    if not summary["sent"]:
        return f"{summary['topic']} holds these {summary['ticks']:,} ticks already: nothing to do"
    return (
        f"{summary['sent']:,} ticks sent to {summary['topic']} in {summary['seconds']} s"
        f" ({summary['late']:,} late, {sum(summary['rejects'].values()):,} rows refused)"  # type: ignore[attr-defined]
    )
