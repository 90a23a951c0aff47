"""`lit bench live`: what a prediction waits for, beside a plain hop through Kafka."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lit.bench.live import Measured


def live(
    rate: Annotated[list[int] | None, typer.Option(help="ticks a second; repeatable")] = None,
    seconds: Annotated[float, typer.Option(help="how long each round is measured")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="how often each rate is measured; the median counts")] = 3,
    symbols: Annotated[int, typer.Option(help="symbols that the ticks are spread over")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tick in → bar out, and bar close → prediction out: p50 and p99 over those of a plain produce-consume hop."""
    import tempfile
    from pathlib import Path

    import msgspec

    from lit.bench.live import measure, processes
    from lit.bench.live_model import model_ms
    from lit.streams.broker import kafka

    alone = model_ms(symbols)
    with (
        tempfile.TemporaryDirectory() as folder,
        kafka(Path(folder), None) as bootstrap,
        processes(bootstrap, symbols) as first,
    ):
        found = [
            [measure(bootstrap, one, seconds, symbols, first, alone) for _ in range(rounds)]
            for one in rate or [1_000, 10_000]
        ]
    if as_json:
        shown = [[{**msgspec.to_builtins(one), "ratios": one.ratios} for one in measured] for measured in found]
        typer.echo(json.dumps(shown))
        return
    for measured in found:
        _show(measured, symbols)


def _show(measured: list[Measured], symbols: int) -> None:
    from statistics import median

    first = measured[0]
    typer.echo(f"{first.rate:,} ticks/s over {symbols} symbols; the model alone {first.model_ms:.1f} ms")
    for name, shown in (("hop_of_all", "hop of all"), ("hop", "hop"), ("bar", "bar"), ("prediction", "prediction")):
        own = [getattr(one, name) for one in measured]
        p50, p99 = (median(getattr(one, quantile) for one in own) for quantile in ("p50", "p99"))
        typer.echo(f"  {shown:<12} p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   of {sum(one.count for one in own):,}")
    missing, lag = (max(getattr(one, what) for one in measured) for what in ("missing", "lag"))
    typer.echo(f"  bars without a prediction: {missing}; waiting messages, as told last: {lag}")
    for name in first.ratios:
        ratios = [one.ratios[name] for one in measured]
        typer.echo(f"  {name.replace('_', ' '):<48} {median(ratios):<5g} ({min(ratios):g} to {max(ratios):g})")
