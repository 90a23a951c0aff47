"""`lit bench`: ratios to references timed in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from lit.cli.bench_build import build
from lit.cli.bench_clients import clients
from lit.cli.bench_data import data
from lit.cli.bench_live import live


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(no_args_is_help=True, help="What the platform costs, as ratios to references of the same run.")
    bench.command("bars")(bars)
    bench.command("build")(build)
    bench.command("clients")(clients)
    bench.command("data")(data)
    bench.command("ingest")(ingest)
    bench.command("live")(live)
    bench.command("memory")(memory)
    app.add_typer(bench, name="bench")


def bars(
    ticks: Annotated[int, typer.Option(help="ticks through the block pipelines, a round")] = 20_000_000,
    events: Annotated[int, typer.Option(help="ticks through the agent with an event a tick")] = 60_000,
    rounds: Annotated[int, typer.Option(min=1, help="how often both are timed side by side; the median counts")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Topic → Faust → minute bars published, against a plain loop and against an event a tick."""
    from statistics import median

    import msgspec

    from lit.bench.bars import EVENTS, SHORT, SOURCE, TEAM, Timed
    from lit.bench.tape import long_tape, sample_ticks
    from lit.demo import SAMPLES
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.clients import producer
    from lit.streams.codec import encode
    from lit.streams.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder, kafka(Path(folder), None) as bootstrap:
        tapes = sample_ticks(Workspace(Path(folder), TEAM), sorted(SAMPLES.glob("*.csv.gz")))
        sender = producer(bootstrap)

        def sent(source: str, wanted: int) -> int:
            topic, count = topics.file_ticks(TEAM, source), 0
            topics.create_topics(bootstrap, topic)
            for tape in tapes.values():
                for block in long_tape(tape, wanted // len(tapes), 8192):
                    message = encode(block)
                    _produce(sender, topic.name, message.key, message.value, message.headers)
                    count += len(block)
            sender.flush()
            return count

        def timed(kind: str, count: int, source: str) -> Timed:
            return msgspec.json.decode(_child("lit.bench.bars", kind, bootstrap, str(count), source), type=Timed)

        plain, faust = [], []
        for number in range(rounds):
            source = f"{SOURCE}-{number}"
            count = sent(source, ticks)
            plain.append(timed("plain", count, source))
            faust.append(timed("faust", count, source))
            topics.delete_topics(bootstrap, topics.ticks(TEAM, source))
        tenth = timed("faust", sent(SHORT, ticks // 10), SHORT)
        tape = next(iter(tapes.values())).slice(0, events)
        topics.create_topics(bootstrap, topics.ticks(TEAM, EVENTS))
        columns = (tape.timestamp.tolist(), tape.price.tolist(), tape.volume.tolist())
        for stamp, price, volume in zip(*columns, strict=True):
            value = msgspec.json.encode({"timestamp": stamp, "price": price, "volume": volume})
            _produce(sender, topics.ticks(TEAM, EVENTS).name, tape.symbol.encode(), value, [])
        sender.flush()
        single = timed("events", len(tape), EVENTS)
    ratios = [one.rate / other.rate for one, other in zip(faust, plain, strict=True)]
    result = {
        "ticks": faust[0].ticks,
        "faust_over_plain_loop": round(median(ratios), 3),
        "each_round": [round(ratio, 3) for ratio in ratios],
        "faust_over_event_a_tick": round(median(one.rate for one in faust) / single.rate, 1),
        "memory_10_times_over_once": round(median(one.memory for one in faust) / tenth.memory, 3),
        "memory_mb": {"tenth": tenth.memory >> 20, "full": faust[0].memory >> 20},
        "ticks_per_second": {
            "plain": round(median(one.rate for one in plain)),
            "faust": round(median(one.rate for one in faust)),
            "events": round(single.rate),
        },
    }
    typer.echo(json.dumps(result) if as_json else _lines(result))


def ingest(
    times: Annotated[int, typer.Option(help="how often the sample files' rows are repeated")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """csv.gz → topic, against pyarrow.csv on the decompressed bytes; memory with a file 10 times as long."""
    import msgspec

    from lit.bench.ingest import Ingested, long_file
    from lit.demo import SAMPLES
    from lit.streams.broker import kafka

    paths = sorted(SAMPLES.glob("BAC*.csv.gz"))
    with tempfile.TemporaryDirectory() as folder, kafka(Path(folder), None) as bootstrap:
        short, long = Path(folder) / "short.csv.gz", Path(folder) / "long.csv.gz"
        long_file(paths, short, times)
        long_file(paths, long, 10 * times)

        def replayed(path: Path) -> Ingested:
            source, warm_up = path.name.split(".")[0], str(paths[0])
            output = _child("lit.bench.ingest", "replayed", bootstrap, folder, str(path), source, warm_up)
            return msgspec.json.decode(output, type=Ingested)

        reference = msgspec.json.decode(_child("lit.bench.ingest", "parsed", str(short)), type=Ingested)
        one, ten = replayed(short), replayed(long)
    result = {
        "rows": one.rows,
        "replay_over_pyarrow_csv": round(one.rate / reference.rate, 3),
        "memory_10_times_over_once": round(ten.memory / one.memory, 3),
        "rows_per_second": {
            "pyarrow_csv": round(reference.rate),
            "replay": round(one.rate),
            "replay_10": round(ten.rate),
        },
        "memory_mb": {"replay": one.memory >> 20, "replay_10": ten.memory >> 20},
    }
    typer.echo(json.dumps(result) if as_json else _lines(result))


def memory(
    times: Annotated[int, typer.Option(help="how often the sample files' rows are repeated in the short file")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Memory of every process of `lit up` while a file goes through, and a file 10 times as long."""
    from lit.bench.ingest import long_file
    from lit.bench.memory import peaks
    from lit.demo import SAMPLES

    paths = sorted(SAMPLES.glob("BAC*.csv.gz"))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for factor in (1, 10):
            file = Path(folder) / f"{factor}.csv.gz"
            ticks = long_file(paths, file, factor * times)
            found.append(peaks(Path(folder) / f"data{factor}", file, ticks))
    once, ten = found
    result = {
        "rows": ticks // 10,
        "memory_10_times_over_once": {name: round(ten[name] / once[name], 3) for name in sorted(once)},
        "memory_mb": {name: (once[name] >> 20, ten[name] >> 20) for name in sorted(once)},
    }
    typer.echo(json.dumps(result) if as_json else _lines(result))


def _produce(sender: Any, topic: str, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    while True:
        try:
            sender.produce(topic, key=key, value=value, headers=headers)
            sender.poll(0)
            return
        except BufferError:
            sender.poll(0.1)


def _child(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return done.stdout.strip().splitlines()[-1]


def _lines(result: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):28} {value}" for name, value in result.items())
