"""`lit cache` and `lit files`: files of ticks into the store, what is in them, and how far each is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lit.sdk.data.caching import OnStatus
    from lit.streams.caching import Status, Wish
    from lit.streams.raw_files import RawFile
    from lit.streams.workspace import Workspace

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
#: Plain lines (no terminal) come this often.
_LINE_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("cache")(cache_files)
    app.command("files")(files_list)


def cache_files(
    files: Annotated[list[Path] | None, typer.Argument(help="tick files")] = None,
    team: Team = "demo",
    adapter: Annotated[str, typer.Option(help="the source adapter; by default, as the file's name suggests")] = "",
    param: Annotated[
        list[str] | None, typer.Option(help="a parameter of the adapter, as time_zone=UTC (`lit adapter show NAME`)")
    ] = None,
    background: Annotated[
        bool, typer.Option(help="leave the work to the running `lit up`, several files at once")
    ] = False,
    stop: Annotated[bool, typer.Option(help="stop what was left to `lit up`; caching again goes on there")] = False,
    as_json: AsJson = False,
    job: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Put files into the tick store, through Kafka: each tick once, whatever is stopped, killed or repeated.

    A file is read to its end first, so that none is half-accepted; its ticks are counted in the store before it counts
    as cached. Without a running `lit up`, broker and store are opened for as long as this takes.
    """
    from lit.sdk.data.caching import cache, cache_wish
    from lit.settings import Settings
    from lit.signals import halting
    from lit.streams import caching
    from lit.streams.errors import UserError
    from lit.streams.sources import adapter_for
    from lit.streams.workspace import Workspace

    settings = Settings()
    workspace = Workspace(settings.data, team)
    if job:
        with halting() as halt:
            cache_wish(team, job, settings, halt)
        return
    if not files:
        raise UserError("no file to cache: name at least one, as in `lit cache data/demo/raw/*.csv.gz`")
    if stop:
        stopped = [str(path) for path in files if caching.stop(workspace, os.path.normpath(path.absolute()))]
        typer.echo(json.dumps(stopped) if as_json else f"{len(stopped)} cachings stopped")
        return
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(adapter or adapter_for(path), []).append(path)
    if background:
        _leave_to_server(settings.data, workspace, groups, param, as_json)
        return
    entries = []
    with halting() as halt, _progress() as show:
        for name, paths in groups.items():
            parameters = parameters_of(workspace, name, param)
            entries += cache(team, name, paths, parameters, settings=settings, halt=halt, on_status=show)
    for entry in entries:
        line = (
            f"{Path(entry.path).name}: {entry.ticks:,} ticks in the store, {sum(entry.rejects.values()):,} rows refused"
        )
        typer.echo(json.dumps(_plain(entry)) if as_json else line)
    if not as_json:
        typer.echo(f"{len(entries)} files cached")


def files_list(
    team: Team = "demo",
    watch: Annotated[bool, typer.Option(help="show it anew every second until nothing is under way")] = False,
    delete: Annotated[str, typer.Option(help="delete this file of raw, if no schema, project or stream uses it")] = "",
    as_json: AsJson = False,
) -> None:
    """List the team's files: size, rows, span, symbols, whether cached, and how far a caching is."""
    from rich.console import Console

    from lit.settings import Settings
    from lit.streams.caching import ACTIVE
    from lit.streams.raw_files import delete_raw_file, raw_files, raw_path
    from lit.streams.workspace import Workspace

    settings = Settings()
    workspace = Workspace(settings.data, team)
    if delete:
        entry = delete_raw_file(workspace, raw_path(workspace, delete))
        if entry is not None:
            _drop_ticks(settings, workspace, entry.adapter, entry.origin)
        typer.echo(f"{delete} deleted")
        return
    console = Console()
    if not console.is_terminal:
        console.width = 160
    while True:
        found = raw_files(workspace)
        if as_json:
            typer.echo(json.dumps([_plain(file) for file in found]))
        else:
            console.print(_table(found))
        if not watch or not any(file.state in (*ACTIVE, "waiting") for file in found):
            return
        time.sleep(1.0)


def parameters_of(workspace: Workspace, adapter: str, given: Sequence[str] | None) -> dict[str, Any]:
    """Read `name=value` options as parameters of an adapter.

    Raises
    ------
    UserError
        If one has no `=`, is unknown, or its value does not fit.
    """
    from lit.streams.errors import UserError
    from lit.streams.parameters import effective
    from lit.streams.sources import declared_parameters

    known = declared_parameters(workspace, adapter)
    values: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--param {text!r} has no '=': write it as name=value")
        values[name] = known[name].parsed(value) if name in known else value
    effective(known, values, adapter)
    return values


def _leave_to_server(
    data: Path, workspace: Workspace, groups: dict[str, list[Path]], param: Sequence[str] | None, as_json: bool
) -> None:
    from lit.streams import caching
    from lit.streams.errors import UserError
    from lit.streams.store_open import running_server

    if not running_server(data):
        raise UserError("no `lit up` runs over this data folder: start it, or leave out --background")
    wanted = [
        caching.want(workspace, path.absolute(), name, parameters_of(workspace, name, param))
        for name, paths in groups.items()
        for path in paths
    ]
    text = f"{len(wanted)} files are cached by `lit up` now; `lit files --watch` shows how far they are"
    typer.echo(json.dumps([_plain(wish) for wish in wanted]) if as_json else text)


def _drop_ticks(settings: Any, workspace: Workspace, adapter: str, origin: str) -> None:
    from lit.streams.store_open import open_store

    with open_store(settings.data, settings.clickhouse) as stores:
        stores.team(workspace.team).delete(adapter, origin)


@contextmanager
def _progress() -> Iterator[OnStatus]:
    """Yield what shows progress: a bar a file on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, Any] = {}
        said = time.monotonic()

        def show(wish: Wish, status: Status) -> None:
            nonlocal said
            name = Path(wish.path).name
            rate = f"{status.rate:,.0f} ticks/s"
            if console.is_terminal:
                if wish.key not in tasks:
                    tasks[wish.key] = bar.add_task(name, rate=rate)
                detail = f"{status.state} {rate}"
                bar.update(tasks[wish.key], total=status.total or None, completed=status.bytes, rate=detail)
            elif time.monotonic() - said > _LINE_SECONDS:
                said = time.monotonic()
                share = status.bytes / status.total if status.total else 0.0
                console.print(f"{name}: {status.state}, {share:.0%}, {rate}", highlight=False)

        yield show


def _table(found: Sequence[RawFile]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("file", "size", "adapter", "state", "ticks", "days", "symbols"):
        wide = name in ("file", "symbols")
        justify = "right" if name in ("size", "ticks") else "left"
        table.add_column(name, justify=justify, overflow="fold" if wide else "ellipsis", no_wrap=not wide)  # type: ignore[arg-type]
    for file in found:
        symbols = list(file.symbols)
        more = f" +{len(symbols) - 3}" if len(symbols) > 3 else ""
        days = dict.fromkeys(day[:10] for day in (file.first, file.last) if day)
        table.add_row(
            file.path,
            f"{file.size:,}",
            file.adapter,
            _state(file),
            "" if file.ticks is None else f"{file.ticks:,}",
            " … ".join(days),
            ", ".join(symbols[:3]) + more,
        )
    return table


def _state(file: RawFile) -> str:
    if file.state in ("failed", "waiting") and file.error:
        return f"{file.state}: {file.error}"
    if file.total and file.state == "sending":
        eta = "" if file.eta is None else f", {file.eta:.0f} s to go"
        return f"{file.bytes / file.total:.0%}, {file.rate:,.0f} ticks/s{eta}"
    return file.state


def _plain(record: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(record)
