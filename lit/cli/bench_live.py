"""`lit bench live`: what a prediction waits for, beside a plain hop through Kafka."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def live(
    rate: Annotated[list[int] | None, typer.Option(help="ticks a second; repeatable")] = None,
    seconds: Annotated[float, typer.Option(help="how long each rate is measured")] = 8.0,
    symbols: Annotated[int, typer.Option(help="symbols that the ticks are spread over")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tick in → bar out, and bar close → prediction out: p50 and p99 over those of a plain produce-consume hop."""
    import tempfile
    from pathlib import Path

    import msgspec

    from lit.bench.live import measure, model_ms, processes
    from lit.streams.broker import kafka

    alone = model_ms(symbols)
    with (
        tempfile.TemporaryDirectory() as folder,
        kafka(Path(folder), None) as bootstrap,
        processes(bootstrap, symbols) as first,
    ):
        found = [measure(bootstrap, one, seconds, symbols, first, alone) for one in rate or [1_000, 10_000]]
    if as_json:
        typer.echo(json.dumps([{**msgspec.to_builtins(one), "ratios": one.ratios} for one in found]))
        return
    for one in found:
        typer.echo(f"{one.rate:,} ticks/s over {symbols} symbols; the model alone {one.model_ms:.1f} ms")
        for name in ("hop", "bar", "prediction"):
            measured = getattr(one, name)
            typer.echo(f"  {name:<12} p50 {measured.p50:8.1f} ms   p99 {measured.p99:8.1f} ms   of {measured.count:,}")
        for name, ratio in one.ratios.items():
            typer.echo(f"  {name.replace('_', ' '):<42} {ratio}")
