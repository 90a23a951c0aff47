"""`lit bench build`: a whole build against a plain script that makes the same arrays."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def build(
    ticks: Annotated[
        int, typer.Option(min=100_000, help="ticks of the dataset, such as 10 or 100 million")
    ] = 5_000_000,
    workers: Annotated[int, typer.Option(min=1, help="feature workers")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Cached ticks → Kafka → feature workers → HDF5, against Polars and NumPy; the arrays are compared bit for bit.

    The schema is a sample a minute of 100 minute bars, a 100-long ATR and its label. Memory is compared with that of a
    build of a tenth of the ticks.
    """
    import msgspec

    from lit.bench.build import LONG, SHORT, Built, prepare, same
    from lit.demo import SAMPLES
    from lit.streams.broker import kafka
    from lit.streams.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder, kafka(Path(folder), None) as bootstrap:

        def run(kind: str, team: str) -> Built:
            command = [sys.executable, "-m", "lit.bench.build", kind, bootstrap, folder, team]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Built)

        samples = sorted(SAMPLES.glob("*.csv.gz"))
        prepare(bootstrap, Workspace(Path(folder), LONG), samples, ticks)
        prepare(bootstrap, Workspace(Path(folder), SHORT), samples, ticks // 10)
        reference = run("reference", LONG)
        short, long = run(str(workers), SHORT), run(str(workers), LONG)
        equal = same(Workspace(Path(folder), LONG))
    result = {
        "ticks": long.ticks,
        "samples": long.samples,
        "same_arrays": equal,
        "build_over_plain_script": round(long.rate / reference.rate, 3),
        "each_further_tick_over_plain_script": round(
            (long.ticks - short.ticks) / max(long.seconds - short.seconds, 1e-9) / reference.rate, 3
        ),
        "memory_10_times_over_once": round(long.memory / short.memory, 3),
        "ticks_per_second": {"plain_script": round(reference.rate), "build": round(long.rate)},
        "cpu_seconds": {
            "plain_script": round(reference.cpu, 2),
            "tenth": round(short.cpu, 2),
            "build": round(long.cpu, 2),
        },
        "memory_mb": {"plain_script": reference.memory >> 20, "tenth": short.memory >> 20, "build": long.memory >> 20},
    }
    lines = "\n".join(f"{name.replace('_', ' '):36} {value}" for name, value in result.items())
    typer.echo(json.dumps(result) if as_json else lines)
    if not equal:
        raise typer.Exit(1)
