"""`lit bars`: the bars of tick files, or of what a stream recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.features.intervals import Interval
    from lit.streams.records import Bar
    from lit.streams.tick import TickBlock, Watermark

COLUMNS = ("start", "symbol", "open", "high", "low", "close", "trades", "volume", "mean_trade_size", "max_trade_size")


class Format(StrEnum):
    """How bars are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bars")(bars)


def bars(
    files: Annotated[list[Path] | None, typer.Argument(help="tick files, in the order of their time")] = None,
    stream: Annotated[str, typer.Option(help="instead of files: a stream, by its recorded tick topic")] = "",
    interval: Annotated[str, typer.Option(help="1minute, 30second, 2hour, 1day, 500tick, 10000volume…")] = "1minute",
    symbol: Annotated[str, typer.Option(help="only this symbol")] = "",
    last: Annotated[int, typer.Option("-n", min=0, help="only the last so many of each symbol; 0: all")] = 20,
    output: Annotated[Format, typer.Option("--format", help="how to print them")] = Format.TABLE,
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    adapter: Annotated[str, typer.Option(help="the source adapter that reads the files")] = "refinitiv",
) -> None:
    """Compute bars of any interval by the kernel that serves builds and live streams.

    The last bar of files is printed as it stands when they end; a stream's open bar is not, since it may still change.
    """
    from lit.features.bars import bars_of
    from lit.features.intervals import Interval
    from lit.streams.errors import UserError

    if bool(files) == bool(stream):
        raise UserError("name tick files, or a stream with --stream NAME (not both)")
    wanted = Interval.parse(interval)
    found = bars_of(_file_ticks(files, team, adapter) if files else _stream_ticks(stream, team), wanted)
    if symbol and symbol not in found:
        raise UserError(f"no ticks of {symbol!r} there: {', '.join(sorted(found)) or 'no symbol at all'}")
    chosen = {name: list(rows.records(name, str(wanted))) for name, rows in found.items() if symbol in ("", name)}
    _print([bar for own in chosen.values() for bar in own[-last:]], wanted, output)


def _file_ticks(files: list[Path], team: str, adapter: str) -> Iterator[TickBlock | Watermark]:
    from lit.streams.replay import ReplayProgress, blocks, plan_files
    from lit.streams.tick import END_OF_TIME, Watermark

    plan = plan_files(workspace_of(team), adapter, files)
    progress = ReplayProgress(plan.raw_bytes)
    yield from (block for _, block in blocks(plan, progress))
    for name, count in progress.symbols.items():
        yield Watermark(name, END_OF_TIME, count)


def _stream_ticks(stream: str, team: str) -> Iterator[TickBlock | Watermark]:
    from lit.processors.delivery import read_ticks
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.clients import tick_partitions

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        topic, partitions = tick_partitions(bootstrap, team, stream)
        for partition in partitions:
            yield from read_ticks(bootstrap, topic, partition)


def _print(found: list[Bar], interval: Interval, output: Format) -> None:
    if output is Format.JSON:
        from lit.streams.records import encode_json

        for bar in found:
            typer.echo(encode_json(bar).decode())
    elif output is Format.CSV:
        typer.echo(",".join(COLUMNS))
        for bar in found:
            typer.echo(",".join(str(getattr(bar, column)) for column in COLUMNS))
    else:
        _table(found, interval)


def _table(found: Iterable[Bar], interval: Interval) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{interval} bars, UTC", title_justify="left", box=None, header_style="bold")
    for column in COLUMNS:
        name = column in COLUMNS[:2]
        table.add_column(column.replace("_", " "), justify="left" if name else "right", no_wrap=name)
    for bar in found:
        numbers = [getattr(bar, column) for column in COLUMNS[2:]]
        table.add_row(bar.start, bar.symbol, *(f"{number:,.10g}" for number in numbers))
    Console().print(table)
