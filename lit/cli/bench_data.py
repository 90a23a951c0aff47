"""`lit bench data`."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lit.bench.data import Measured


def data(
    millions: Annotated[str, typer.Option(help="sizes of the dataset, in millions of ticks")] = "1,4",
    folder: Annotated[Path | None, typer.Option(help="keep everything here, and go on from there next time")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Caching against decoding alone; windows, searches, bars and features of a dataset as it grows.

    The rehearsal at 100 million ticks takes 3.6 GB of disk and some ten minutes of two processors. Stopped or killed,
    the same command goes on:

        lit bench data --millions 1,10,100 --folder rehearsal
    """
    from lit.bench.caching import caching_ratio
    from lit.bench.data import grow, plan
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.errors import UserError

    try:
        sizes = [int(text) * 1_000_000 for text in millions.split(",")]
    except ValueError:
        raise UserError(f"--millions {millions!r} is not a list of whole numbers such as 1,10,100") from None
    with ExitStack() as opened:
        if folder is None:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        found = plan(folder, sizes)
        typer.echo(f"{folder}: needs {found.needed_bytes / 1e9:.1f} GB of disk in all", err=True)
        found.check_space()
        bootstrap = opened.enter_context(kafka(folder, None))
        settings = Settings(data=folder, kafka=bootstrap, clickhouse=None)
        results = list(grow(found, settings, lambda line: typer.echo(line, err=True)).values())
        summary = _summary(results, caching_ratio(settings))
    typer.echo(json.dumps(summary) if as_json else _lines(summary))


def _summary(results: list[Measured], caching: dict[str, Any]) -> dict[str, Any]:
    from msgspec.structs import asdict

    first, last = asdict(results[0]), asdict(results[-1])
    sizes = last["ticks"] / first["ticks"]
    rows = [asdict(one) for one in results]
    return {
        **caching,
        "dataset_grows": round(sizes, 1),
        "window_cold_grows": round(last["window_cold_ms"] / first["window_cold_ms"], 2),
        "window_cold_cpu_grows": round(last["window_cold_cpu_ms"] / first["window_cold_cpu_ms"], 2),
        "bars_cold_grows": round(last["bars_cold_ms"] / first["bars_cold_ms"], 2),
        "packet_cold_grows": round(last["packet_cold_ms"] / first["packet_cold_ms"], 2),
        "overview_grows": round(last["overview_cold_ms"] / first["overview_cold_ms"], 2),
        "window_cold_over_flat_file": round(last["window_cold_ms"] / last["flat_file_ms"], 1),
        "bars_warm_over_memory": round(last["bars_warm_ms"] / last["memory_bars_ms"], 2),
        "feature_loop_over_batch": round(last["feature_loop_ms"] / last["feature_batch_ms"], 1),
        "sizes": {f"{row.pop('ticks') // 1_000_000}M": row for row in rows},
    }


def _lines(summary: dict[str, Any]) -> str:
    sizes = summary.pop("sizes")
    lines = [f"{name.replace('_', ' '):28} {value}" for name, value in summary.items()]
    lines.append(f"{'milliseconds':28} " + " ".join(f"{size:>10}" for size in sizes))
    for name in next(iter(sizes.values())):
        values = " ".join(f"{row[name]:>10.3g}" for row in sizes.values())
        lines.append(f"{name.removesuffix('_ms').replace('_', ' '):28} {values}")
    return "\n".join(lines)
