"""`lit build`: a schema into a dataset; and what became of builds."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.processors.build import BuildSummary
    from lit.processors.progress import BuildProgress, BuildView
    from lit.streams.workspace import Workspace

Team = Annotated[str, typer.Option(help="the team")]
Build = Annotated[str, typer.Argument(help="number of the build, a schema's name (its last build), or last")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
Workers = Annotated[int, typer.Option(min=0, help="feature workers that share the symbols; 0: started elsewhere")]
Seconds = Annotated[float, typer.Option(help="how long one call of a script may take")]
Memory = Annotated[int, typer.Option(help="memory that a worker may take, in MB")]
#: Plain lines (no terminal) come this often.
_LINE_SECONDS = 5.0


class _StartByDefault(TyperGroup):
    """`lit build NAME` is `lit build start NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return list(super().parse_args(ctx, args))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    builds = typer.Typer(
        cls=_StartByDefault,
        no_args_is_help=True,
        help="Make datasets of schemas. `lit build NAME` starts; the rest looks after builds.",
    )
    builds.command("start")(start)
    builds.command("resume")(resume_build)
    builds.command("stop")(stop)
    builds.command("list")(list_all)
    builds.command("show")(show)
    builds.command("log")(log)
    builds.command("diff")(diff)
    builds.command("clean")(clean)
    app.add_typer(builds, name="build")


def start(
    schema: Annotated[str, typer.Argument(help="name of the schema, a file in the team's schemas folder")],
    team: Team = "demo",
    workers: Workers = 1,
    on_error: Annotated[
        str, typer.Option(help="a sample whose script fails: stop the build, or quarantine the sample")
    ] = "stop",
    script_seconds: Seconds = 60.0,
    memory_mb: Memory = 4096,
    number: Annotated[int | None, typer.Option(hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Build a schema's dataset: cached ticks → Kafka → feature workers → the asset's queue (train.h5, test.h5).

    What earlier builds of the schema made is used: files behind the old ones append, a new or changed feature computes
    its own columns, and where nothing changed nothing is done.
    """
    from lit.processors.build import build
    from lit.processors.workers import Limits
    from lit.streams.errors import UserError

    if on_error not in ("stop", "quarantine"):
        raise UserError(f"--on-error {on_error!r} is neither stop nor quarantine")
    limits = Limits(script_seconds, memory_mb)

    def run(workspace: Workspace, bootstrap: str, replication: int, tell: Callable[[BuildProgress], None]) -> Any:
        return build(
            workspace,
            schema,
            bootstrap,
            workers=workers,
            replication=replication,
            on_error=on_error,  # type: ignore[arg-type]
            limits=limits,
            number=number,
            on_progress=tell,
        )

    _drive(team, schema, run, as_json)


def resume_build(
    build: Build,
    team: Team = "demo",
    workers: Workers = 1,
    script_seconds: Seconds = 60.0,
    memory_mb: Memory = 4096,
    as_json: AsJson = False,
) -> None:
    """Go on with a build that was stopped, failed or crashed; its finished chunks are kept."""
    from lit.processors.build import resume
    from lit.processors.progress import find_build
    from lit.processors.workers import Limits

    limits = Limits(script_seconds, memory_mb)

    def run(workspace: Workspace, bootstrap: str, replication: int, tell: Callable[[BuildProgress], None]) -> Any:
        number = find_build(workspace, build)
        return resume(
            workspace, number, bootstrap, workers=workers, replication=replication, limits=limits, on_progress=tell
        )

    _drive(team, build, run, as_json)


def stop(build: Build, team: Team = "demo") -> None:
    """Stop a running build; `lit build resume` goes on later."""
    from lit.processors.progress import find_build, stop_build

    workspace = workspace_of(team)
    number = find_build(workspace, build)
    stop_build(workspace, number)
    typer.echo(f"build {number} is stopping; `lit build resume {number}` goes on where it is")


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List builds, newest first."""
    import msgspec

    from lit.processors.progress import list_builds

    views = list_builds(workspace_of(team))
    if as_json:
        typer.echo(msgspec.json.encode(views).decode())
        return
    for view in views:
        typer.echo(_line(view))


def show(build: Build, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show how far a build is: stage, rate, time left, and what each worker is doing."""
    import msgspec

    from lit.processors.progress import find_build, view_build

    workspace = workspace_of(team)
    view = view_build(workspace, find_build(workspace, build))
    if as_json:
        typer.echo(msgspec.json.encode(view).decode())
        return
    typer.echo(_line(view))
    if view.message:
        typer.echo(f"  {view.message}")
    for worker in view.progress.workers if view.progress else []:
        at = f"computing {worker.feature} for {worker.seconds:.1f} s" if worker.feature else "reading"
        typer.echo(
            f"  {worker.host} {worker.pid}: {worker.ticks:,} ticks, {worker.samples:,} samples, {worker.memory_mb} MB, "
            + (at if view.status == "running" else "ended")
        )


def log(
    build: Build,
    team: Team = "demo",
    lines: Annotated[int, typer.Option(min=1, help="how many of the last lines")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what is written, until it ends")] = False,
) -> None:
    """Print the end of a build's log, which all its workers share."""
    import time

    from lit.processors.progress import find_build, log_tail, view_build

    workspace = workspace_of(team)
    number = find_build(workspace, build)
    text, at = log_tail(workspace, number, lines)
    typer.echo(text, nl=False)
    while follow:
        running = view_build(workspace, number).status == "running"
        text, at = log_tail(workspace, number, after=at)
        typer.echo(text, nl=False)
        if not running:
            return
        time.sleep(0.3)


def diff(before: Build, after: Build, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show what differs between two builds as they were frozen: schema, files, features, scripts, packages."""
    from lit.cli.schema import tell_changes
    from lit.processors.launch import build_differences
    from lit.processors.progress import find_build

    workspace = workspace_of(team)
    numbers = [find_build(workspace, name) for name in (before, after)]
    tell_changes(build_differences(workspace, *numbers), as_json)


def clean(
    schemas: Annotated[list[str] | None, typer.Argument(help="schemas; none: show what is kept")] = None,
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Free the disk space of what builds keep for later ones; assets stay. Without a schema: show how much it is."""
    import msgspec

    from lit.processors import cleanup

    workspace = workspace_of(team)
    found = [cleanup.clean(workspace, name) for name in schemas] if schemas else cleanup.kept_chunks(workspace)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    for one in found:
        typer.echo(f"{one.schema}: {one.bytes / 1e6:,.1f} MB in {one.files:,} files {'freed' if schemas else 'kept'}")
    if not found:
        typer.echo("nothing is kept")


def _drive(
    team: str,
    name: str,
    run: Callable[[Workspace, str, int, Callable[[BuildProgress], None]], BuildSummary],
    as_json: bool,
) -> None:
    from lit.settings import Settings
    from lit.streams.broker import kafka

    settings, workspace = Settings(), workspace_of(team)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with kafka(settings.data, settings.kafka) as bootstrap, _shown() as show, _announced(bootstrap, team, name) as tell:

        def told(progress: BuildProgress) -> None:
            show(progress)
            tell(progress)

        try:
            done = run(workspace, bootstrap, settings.replication, told)
        except KeyboardInterrupt:
            typer.echo("stopped: `lit build resume last` goes on where it is", err=True)
            raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(done)))
        return
    parts = ", ".join(f"{part} {facts['samples']:,} ({facts['digest'][:19]}…)" for part, facts in done.parts.items())
    if done.unchanged:
        typer.echo(f"build {done.build}: nothing changed, {done.samples:,} samples are up to date; {parts}")
        return
    typer.echo(
        f"build {done.build}: {done.ticks:,} ticks → {done.samples:,} samples in {done.seconds:.1f} s "
        f"({done.ticks / done.seconds:,.0f} ticks/s; {done.reused} of {done.chunks} chunks were there); {parts}"
    )
    if done.quarantined:
        typer.echo(f"{done.quarantined:,} samples were put aside: logs/{done.build}/quarantine.jsonl names them")


@contextmanager
def _shown() -> Iterator[Callable[[BuildProgress], None]]:
    """Show progress as bars on a terminal, as a line every few seconds elsewhere."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[detail]}"))
    said = 0.0
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        tasks = {stage: bars.add_task(stage, total=None, detail="") for stage in ("cache", "features", "merge")}

        def show(progress: BuildProgress) -> None:
            nonlocal said
            detail = f"{progress.rate:,.0f}/s {progress.samples:,} samples {progress.detail}"
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, detail=detail)
            if not console.is_terminal and time.monotonic() - said > _LINE_SECONDS:
                said = time.monotonic()
                left = "" if progress.eta_seconds is None else f", {progress.eta_seconds:.0f} s left"
                typer.echo(f"{progress.stage}: {progress.done:,} of {progress.total:,}, {detail}{left}", err=True)

        yield show


@contextmanager
def _announced(bootstrap: str, team: str, name: str) -> Iterator[Callable[[BuildProgress], None]]:
    """Publish progress as events of the team, twice a second at the most."""
    import time

    import msgspec

    from lit.streams.records import Event
    from lit.streams.tick import iso
    from lit.trainer.announce import Announcer

    announce = Announcer(bootstrap, team)
    last: list[Any] = ["", 0.0]

    def event(status: str, detail: dict[str, Any]) -> None:
        announce(Event("build", name, status, iso(time.time_ns() // 10**6 * 10**6), detail))

    def tell(progress: BuildProgress) -> None:
        if progress.stage != last[0] or time.monotonic() - last[1] > 0.5:
            last[:] = [progress.stage, time.monotonic()]
            event("running", msgspec.to_builtins(progress))

    try:
        yield tell
        event("complete", {})
    except BaseException as error:
        event("stopped" if isinstance(error, KeyboardInterrupt) else "failed", {"error": str(error)})
        raise
    finally:
        announce.close()


def _line(view: BuildView) -> str:
    progress = view.progress
    text = f"{view.build:>5}  {view.schema:20} {view.status:9} {view.started[:19]:19} {view.ticks:>13,} ticks"
    if progress and view.status == "running":
        share = progress.done / progress.total if progress.total else 0.0
        left = "" if progress.eta_seconds is None else f", {progress.eta_seconds:.0f} s left"
        text += f"  {progress.stage} {share:.0%}, {progress.rate:,.0f}/s{left}, {progress.samples:,} samples"
    return text
