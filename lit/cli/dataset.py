"""`lit dataset`: looking around in cached files, through a running `lit up` or without one."""

from __future__ import annotations

import json
import random as chance
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lit.sdk.data.adapter import SdkAdapter

Files = Annotated[list[Path] | None, typer.Argument(help="cached files, in the order of their time")]
Project = Annotated[str, typer.Option(help="instead of files: those of a project")]
Team = Annotated[str, typer.Option(help="the team")]
Adapter = Annotated[str, typer.Option(help="the source adapter that the files were cached with")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]

_WRITERS = (".parquet", ".csv", ".arrow")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dataset = typer.Typer(
        no_args_is_help=True, help="Look around in cached files: ticks, searches, the whole at a glance."
    )
    for command in (show, tick, search, export):
        dataset.command(command.__name__)(command)
    app.add_typer(dataset, name="dataset")


def show(
    files: Files = None,
    project: Project = "",
    team: Team = "demo",
    adapter: Adapter = "refinitiv",
    as_json: AsJson = False,
) -> None:
    """Say what a dataset is made of, and draw its prices: each column the lowest and the highest of its ticks."""
    found = _open(files, project, team, adapter)
    look = found.discovery
    view = found.overview(points=60)
    parts: list[dict[str, Any]] = []
    index = 0
    for part in look.dataset.parts:
        parts.append({"symbol": part.symbol, "index": index, "ticks": part.count})
        index += part.count
    if as_json:
        columns = {name: view.table.column(name).to_pylist() for name in view.table.schema.names}
        told = {"ticks": len(found), "parts": parts, "fields": look.fields, "ticks_per_point": view.ticks_per_point}
        typer.echo(json.dumps({**told, "overview": columns}))
        return
    typer.echo(f"{len(found):,} ticks of {', '.join(found.symbols)}; fields to search: {', '.join(look.fields)}")
    for own in parts:
        typer.echo(f"  {own['symbol']:12} {own['index']:>14,} … {own['index'] + own['ticks'] - 1:,}")
    if view.ticks_per_point > 1:
        typer.echo(f"lowest and highest price, {view.ticks_per_point:,} ticks a row:")
    _draw(view.table.to_pylist())


def tick(
    index: Annotated[int | None, typer.Option(help="which tick; none: a random one")] = None,
    files: Files = None,
    project: Project = "",
    team: Team = "demo",
    adapter: Adapter = "refinitiv",
) -> None:
    """Print one tick with all that its adapter keeps, as JSON: that of an index, or any."""
    found = _open(files, project, team, adapter)
    index = chance.randrange(len(found)) if index is None else index
    try:
        typer.echo(json.dumps(found[index], ensure_ascii=False))
    except IndexError as error:
        from lit.streams.errors import UserError

        raise UserError(f"the dataset has {len(found):,} ticks, so none of index {index}") from error


def search(
    text: Annotated[str, typer.Argument(help='a text, "/a regex/", "Volume > 10000", joined by and, or, not')],
    files: Files = None,
    project: Project = "",
    team: Team = "demo",
    adapter: Adapter = "refinitiv",
    limit: Annotated[int, typer.Option(help="how many of the ticks to print", min=0)] = 10,
    first: Annotated[int, typer.Option(help="print those from this index on", min=0)] = 0,
    seconds: Annotated[float, typer.Option(help="for counting the whole dataset")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Count the ticks that match, and print the first ones.

    A text is looked for in all text fields as it stands: what was copied out of a tick can be pasted.
    """
    found = _open(files, project, team, adapter)
    look, step = found.discovery, 1 << 20
    indices: list[int] = []
    for begin in range(first, len(found), step):
        if len(indices) >= limit:
            break
        indices += look.search(text, look.covered(begin, begin + step), 0.0).indices.tolist()
    counted = look.search(text, [], seconds)
    packets = [found[index] for index in indices[:limit]]
    told = {"matches": counted.matches, "searched": counted.searched, "total": counted.total}
    if as_json:
        typer.echo(json.dumps({**told, "ticks": packets}, ensure_ascii=False))
        return
    for one in packets:
        typer.echo(
            f"{one['index']:>12} {one['Date-Time']} {one['symbol']:10} {one['Price']:>12} {one['Volume']:>10} "
            f"{one['Qualifiers'] or ''}"
        )
    rest = "" if counted.searched == counted.total else f" in the first {counted.searched:,} that there was time for"
    typer.echo(f"{counted.matches:,} of {counted.total:,} ticks match{rest}")


def export(
    out: Annotated[Path, typer.Argument(help="file to write: .parquet, .csv or .arrow")],
    files: Files = None,
    project: Project = "",
    team: Team = "demo",
    adapter: Adapter = "refinitiv",
    first: Annotated[int, typer.Option(help="index of the first tick", min=0)] = 0,
    count: Annotated[int | None, typer.Option(help="how many ticks; none: all", min=0)] = None,
) -> None:
    """Write ticks with all their fields to a file."""
    from lit.streams.errors import UserError

    if out.suffix not in _WRITERS:
        raise UserError(f"{out} ends in {out.suffix!r}: name it {', '.join(_WRITERS)}")
    found = _open(files, project, team, adapter)
    last = len(found) if count is None else min(first + count, len(found))
    part = out.with_name(f".{out.name}.part")
    _write(found, part, out.suffix, first, last)
    part.replace(out)
    typer.echo(f"{max(last - first, 0):,} ticks written to {out}")


def _write(found: SdkAdapter, path: Path, suffix: str, first: int, last: int) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    step, writer = 500_000, None
    for begin in range(first, max(last, first + 1), step):
        table = found[begin : min(begin + step, last)].to_arrow()
        # Plain texts: pieces have dictionaries of their own.
        plain = pa.schema(
            [pa.field(f.name, pa.utf8() if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
        )
        table = table.cast(plain)
        if writer is None:
            make = {".parquet": pa.parquet.ParquetWriter, ".csv": pa.csv.CSVWriter, ".arrow": pa.ipc.new_file}[suffix]
            writer = make(str(path), plain)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _open(files: list[Path] | None, project: str, team: str, adapter: str) -> SdkAdapter:
    from lit.sdk.data.adapter import load_adapter, load_adapter_by_project
    from lit.streams.errors import UserError

    if bool(files) == bool(project):
        raise UserError("name the dataset either by its files or by --project")
    found = load_adapter_by_project(team, project) if project else load_adapter(team, adapter, {"paths": files})
    found.require_cached()
    return found


def _draw(rows: list[dict[str, Any]]) -> None:
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    span = (high - low) or 1.0
    for row in rows:
        begin, end = (int((row[name] - low) / span * 50) for name in ("low", "high"))
        typer.echo(
            f"{row['index']:>14,} {row['low']:>10g} {' ' * begin}{'█' * (end - begin + 1):{51 - begin}} {row['high']:g}"
        )
