"""The whole path on five days of real ticks: cache, build, train, vault, deploy, predict; what `lit demo` runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    from lit.api.server import Running
    from lit.processors.build import BuildSummary
    from lit.settings import Settings
    from lit.streams.records import Prediction, Score
    from lit.trainer.experiments import RunSummary

TEAM, ADAPTER, SCHEMA, PROJECT = "demo", "refinitiv", "volatility", "volatility"
SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
#: The model trains on 7 to 9 October and is tested on the 10th; it serves the 11th, warmed up by the 10th.
TEST_FROM, LIVE_FROM = "2013-10-10", "2013-10-11T13:30:00Z"
FEATURES: dict[str, tuple[str, dict[str, Any]]] = {
    "100_1_minute_bars": ("unit_bar", {"count": 100, "size": 1, "unit": "minute"}),
    "100_1_minute_atr": ("atr", {"count": 100, "rate": 14, "size": 1, "unit": "minute"}),
    "atr_up_next_minute": ("atr_up", {"rate": 14, "size": 1, "unit": "minute"}),
    "per_minute": ("per_unit", {"unit": "minute"}),
}
#: How long nothing may happen before the demo gives up.
PATIENCE_SECONDS = 120.0


@dataclass
class DemoSummary:
    """What the demo did."""

    ticks: int = 0
    cache_seconds: float = 0.0
    build: BuildSummary | None = None
    run: RunSummary | None = None
    bars: int = 0
    predictions: list[Prediction] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    live_seconds: float = 0.0


Say = Callable[[str], None]


def prepare(server: Running, settings: Settings, say: Say, epochs: int) -> tuple[DemoSummary, str, str]:
    """Do everything up to the deployment; return the summary so far, the stream's and the deployment's name."""
    workspace, summary = Workspace(settings.data.resolve(), TEAM), DemoSummary()
    paths = sorted(SAMPLES.glob("*.csv.gz"))
    if not paths:
        raise UserError(f"the demo's sample files are not in {SAMPLES}: run it from a checkout of the project")
    say("caching five days of IBM and BAC: files → Kafka → ClickHouse")
    _cache(server, settings, workspace, paths, summary, say)
    say("building the dataset: four features through Kafka and the feature worker")
    _build(server, settings, workspace, [p for p in paths if "20131011" not in p.name], summary, say)
    say("training a small dense model")
    model = _train(workspace, summary, say, epochs)
    say("deploying the best epoch")
    number = summary.run.run if summary.run else 0
    stream, deployment = f"market-{number}", f"volatility-{number}"
    _deploy(workspace, [p for p in paths if "2013101" in p.name], stream, deployment, model, say)
    return summary, stream, deployment


def watch(server: Running, summary: DemoSummary, stream: str, deployment: str, wanted: int, say: Say) -> None:
    """Follow a deployment until it has made `wanted` predictions."""
    from lit.streams import topics

    began = since = time.monotonic()
    shown: set[tuple[str, int]] = set()
    while len(shown) < wanted:
        _check_workers(server)
        made = sorted(_predictions(server.bootstrap, deployment), key=lambda p: (p.bar_start, p.symbol))
        fresh = [prediction for prediction in made if (prediction.symbol, prediction.ordinal) not in shown]
        for prediction in fresh:
            shown.add((prediction.symbol, prediction.ordinal))
            say(
                f"  {prediction.symbol}  minute {prediction.bar_start[11:16]}  p(volatility up) = "
                f"{prediction.prediction[0]:.3f}  {prediction.latency_ms:.0f} ms after its bar"
            )
        if fresh:
            summary.predictions, since = made, time.monotonic()
        elif time.monotonic() - since > PATIENCE_SECONDS:
            raise FaultError(f"no prediction for {PATIENCE_SECONDS:.0f} s: `lit status` and the workers' logs tell why")
        time.sleep(0.5)
    summary.scores = list(_scores(server.bootstrap, deployment))
    summary.bars = _count_bars(server.bootstrap, topics.bars(TEAM, stream, "1minute").name)
    summary.live_seconds = time.monotonic() - began


def report(summary: DemoSummary) -> list[str]:
    """Return the summary as lines."""
    lines = [
        f"ticks        {summary.ticks:,} through Kafka to ClickHouse ({_rate(summary.ticks, summary.cache_seconds)})"
    ]
    if summary.build:
        built = summary.build
        parts = ", ".join(f"{facts['samples']:,} {part}" for part, facts in built.parts.items())
        lines.append(
            f"samples      {built.samples:,} ({parts}) of {built.ticks:,} ticks ({_rate(built.ticks, built.seconds)})"
        )
    if summary.run:
        metrics = summary.run.metrics
        lines.append(
            f"epochs       {summary.run.epochs}, best {summary.run.best_epoch}: accuracy "
            f"{metrics.get('val_accuracy', 0):.3f} (base rate {metrics.get('val_base_accuracy', 0):.3f}), "
            f"Brier {metrics.get('val_brier', 0):.3f} (base rate {metrics.get('val_base_brier', 0):.3f})"
        )
    latencies = sorted(prediction.latency_ms for prediction in summary.predictions)
    lines.append(f"bars         {summary.bars:,} on the stream")
    if latencies:
        lines.append(
            f"predictions  {len(latencies)} in {summary.live_seconds:.0f} s, "
            f"{latencies[len(latencies) // 2]:.0f} ms after their bar at the median"
        )
    hits = sum((score.prediction[0] > 0.5) == (score.outcome[0] > 0.5) for score in summary.scores)
    lines.append(f"scored       {len(summary.scores)}, right {hits}")
    return lines


def _rate(count: int, seconds: float) -> str:
    return f"{count / max(seconds, 1e-9):,.0f} ticks/s"


def _cache(
    server: Running, settings: Settings, workspace: Workspace, paths: Sequence[Path], summary: DemoSummary, say: Say
) -> None:
    from lit.streams import topics
    from lit.streams.cache import await_cached, cache_file
    from lit.streams.store_open import open_store

    topic = topics.file_ticks(TEAM, ADAPTER)
    topics.create_topics(server.bootstrap, topic, replication=settings.replication)
    began = time.monotonic()
    entries = []
    for number, path in enumerate(paths, 1):
        entries.append(cache_file(workspace, ADAPTER, path, server.bootstrap, topic.name))
        summary.ticks += entries[-1].ticks
        say(f"  {number}/{len(paths)}  {path.name}: {entries[-1].ticks:,} ticks in Kafka")
    with open_store(workspace.data, settings.clickhouse) as stores:
        for entry in entries:
            await_cached(workspace, entry, stores.team(TEAM), PATIENCE_SECONDS)
    summary.cache_seconds = time.monotonic() - began
    say(f"  {summary.ticks:,} ticks are in ClickHouse")


def _build(
    server: Running, settings: Settings, workspace: Workspace, paths: Sequence[Path], summary: DemoSummary, say: Say
) -> None:
    from lit.features.library import feature_names, save_feature
    from lit.features.schema import Schema, Split, save_schema
    from lit.processors.build import build
    from lit.processors.progress import BuildProgress

    known = set(feature_names(workspace))
    for name, (script, params) in FEATURES.items():
        if name not in known:
            save_feature(workspace, name, script, params)
    save_schema(
        workspace,
        Schema(SCHEMA, [str(p) for p in paths], list(FEATURES), ADAPTER, split=Split("date", TEST_FROM)),
    )
    stages: set[str] = set()

    def show(progress: BuildProgress) -> None:
        if progress.stage not in stages:
            stages.add(progress.stage)
            say(f"  {progress.stage}…")

    summary.build = build(workspace, SCHEMA, server.bootstrap, replication=settings.replication, on_progress=show)
    say(f"  {summary.build.samples:,} samples")


def _train(workspace: Workspace, summary: DemoSummary, say: Say, epochs: int) -> str:
    from lit.trainer import vault
    from lit.trainer.experiments import train

    def show(row: Any) -> None:
        say(f"  epoch {int(row['epoch'])}: loss {row['loss']:.4f}, on the test day {row['val_loss']:.4f}")

    summary.run = train(workspace, _canvas(epochs), project=PROJECT, epochs=epochs, on_epoch=show)
    if summary.run.status != "finished":
        raise FaultError(f"run {summary.run.run} ended as {summary.run.status}: see its log.txt")
    item = vault.add(workspace, PROJECT, summary.run.run, summary.run.best_epoch, f"volatility-{summary.run.run}")
    say(f"  epoch {item.epoch} is in the vault as {item.name}")
    return item.name


def _canvas(epochs: int) -> dict[str, Any]:
    inputs = {"bars": "100_1_minute_bars", "atr": "100_1_minute_atr"}
    return {
        "name": "volatility",
        "settings": {"project": PROJECT, "asset": SCHEMA},
        "nodes": [
            *(
                {"id": node, "component": "Input", "properties": {"feature": feature, "scale": "window"}}
                for node, feature in inputs.items()
            ),
            {"id": "dense", "component": "Dense", "properties": {"layers": "64, 32", "dropout": 0.2}},
            {"id": "out", "component": "Output", "properties": {"feature": "atr_up_next_minute"}},
            {"id": "globals", "component": "Globals", "properties": {"epochs": epochs, "learning_rate": 0.001}},
        ],
        "edges": [
            *({"source": node, "target": "dense"} for node in inputs),
            {"source": "dense", "target": "out"},
        ],
    }


def _deploy(workspace: Workspace, paths: Sequence[Path], stream: str, deployment: str, model: str, say: Say) -> None:
    from lit.serving.opening import Deployment, Output, save_deployment
    from lit.streams.live import AdapterName, Stream, save_stream

    parameters = {"paths": [str(p) for p in paths], "adapter": ADAPTER, "speed": 60, "start": LIVE_FROM}
    save_stream(workspace, stream, Stream(AdapterName("replay"), parameters))
    save_deployment(workspace, Deployment(deployment, stream, Output(models=[model])))
    say(f"  {model} is deployed as {deployment} on {stream}: 11 October 2013 at 60 times its speed")


def _check_workers(server: Running) -> None:
    import httpx

    try:
        answer = httpx.get(f"{server.url}/api/status", headers={"Authorization": f"Bearer {server.token}"}, timeout=30)
        workers = answer.raise_for_status().json()["workers"]
    except httpx.HTTPError as error:
        raise FaultError(f"the server at {server.url} does not answer: {error}") from error
    for worker in workers:
        if worker["status"] == "failed":
            raise FaultError(f"{worker['name']} failed: {worker['last_error']}")


def _predictions(bootstrap: str, deployment: str) -> Iterator[Prediction]:
    import msgspec

    from lit.streams import topics
    from lit.streams.records import Prediction

    for value in _values(bootstrap, topics.predictions(TEAM, deployment)):
        yield msgspec.json.decode(value, type=Prediction)


def _scores(bootstrap: str, deployment: str) -> Iterator[Score]:
    import msgspec

    from lit.streams import topics
    from lit.streams.records import Score

    for value in _values(bootstrap, topics.scores(TEAM, deployment)):
        yield msgspec.json.decode(value, type=Score)


def _values(bootstrap: str, topic: Any) -> Iterator[bytes]:
    from lit.processors.delivery import read_partition
    from lit.streams.clients import partitions_of

    for partition in partitions_of(bootstrap, topic.name):
        yield from read_partition(bootstrap, topic.name, partition)


def _count_bars(bootstrap: str, topic: str) -> int:
    from lit.processors.delivery import read_partition
    from lit.streams.clients import partitions_of
    from lit.streams.records import decode_bars

    return sum(
        len(decode_bars(value))
        for partition in partitions_of(bootstrap, topic)
        for value in read_partition(bootstrap, topic, partition)
    )
