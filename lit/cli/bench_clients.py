"""`lit bench clients`: hundreds of WebSocket clients of the live candlestick service."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def clients(
    clients: Annotated[int, typer.Option(min=2, help="WebSockets at once; a fifth of them never read")] = 300,
    rate: Annotated[float, typer.Option(min=0.1, help="bars a second")] = 40.0,
    seconds: Annotated[float, typer.Option(min=1, help="how long bars are sent, to one client and to all")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """What readers wait for, over a single client's wait; memory a client; Kafka readers; conflated updates."""
    import tempfile
    from pathlib import Path

    import msgspec

    from lit.bench.clients import measure

    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), clients, clients // 5, rate, seconds, lambda line: typer.echo(line, err=True))
    ratios = {
        "p50_over_a_single_client": round(found.readers.p50 / found.single.p50, 2),
        "p99_over_a_single_client": round(found.readers.p99 / found.single.p99, 2),
    }
    if as_json:
        typer.echo(json.dumps({**msgspec.to_builtins(found), "ratios": ratios}))
        return
    lines = {
        "clients": f"{found.clients}, {found.never_read} of which never read",
        **{name.replace("_", " "): str(ratio) for name, ratio in ratios.items()},
        "a single client": f"p50 {found.single.p50:.1f} ms   p99 {found.single.p99:.1f} ms",
        "readers": f"p50 {found.readers.p50:.1f} ms   p99 {found.readers.p99:.1f} ms   of {found.readers.count:,}",
        "memory a client": f"{found.memory_a_client / 1024:.0f} kB of the server",
        "kafka readers": str(found.kafka_readers),
        "updates": f"{found.updates:,}",
        "conflated": f"{found.conflated:,} of who never reads, {found.readers_conflated:,} of readers",
        "closed by the server": f"{found.closed:,}",
    }
    typer.echo("\n".join(f"{name:28} {value}" for name, value in lines.items()))
