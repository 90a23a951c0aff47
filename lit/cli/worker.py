"""`lit worker …`: one role alone, to scale out or to be supervised."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    workers = typer.Typer(no_args_is_help=True, help="Run one role alone, in this process, until Ctrl-C.")
    workers.command("bars")(bars)
    workers.command("sink")(sink)
    workers.command("features")(features)
    workers.command("stream")(stream)
    workers.command("deployment")(deployment)
    app.add_typer(workers, name="worker")


def bars(
    source: Annotated[str, typer.Option(help="the tick topic's source, such as a stream's name")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    intervals: Annotated[str, typer.Option(help="bar intervals, separated by commas")] = "1minute",
) -> None:
    """Compute the bars of a source and publish them, each once; several workers share the symbols."""
    from lit.features.intervals import Interval
    from lit.logs import configure
    from lit.processors.app import run
    from lit.processors.bars import bars_app
    from lit.processors.bars_config import BarsConfig
    from lit.settings import Settings
    from lit.streams.broker import kafka

    settings = Settings()
    configure(settings)
    wanted = tuple(sorted({Interval.parse(text) for text in intervals.split(",")}))
    with kafka(settings.data, settings.kafka) as bootstrap:
        config = BarsConfig(bootstrap, team, source, wanted, settings.replication)
        config.create_topics()
        run(bars_app(config))


def sink(
    source: Annotated[str, typer.Option(help="the tick topic's source, such as a stream's name")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
) -> None:
    """Write the ticks of a source into the store, each once."""
    from lit.logs import configure
    from lit.processors.app import run
    from lit.processors.sink import sink_app
    from lit.settings import Settings
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.store_open import open_store

    settings = Settings()
    configure(settings)
    with kafka(settings.data, settings.kafka) as bootstrap, open_store(settings.data, settings.clickhouse) as stores:
        topics.create_topics(bootstrap, topics.ticks(team, source), replication=settings.replication)
        run(sink_app(bootstrap, team, source, stores.team(team)))


def features(
    build: Annotated[int, typer.Option(help="number of the build, as in the team's logs folder")] = 0,
    stream: Annotated[str, typer.Option(help="instead of a build: the stream whose features are published")] = "",
    schema: Annotated[str, typer.Option(help="with a stream: the schema")] = "",
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    script_seconds: Annotated[float, typer.Option(help="how long one call of a script may take")] = 60.0,
    memory_mb: Annotated[int, typer.Option(help="memory that this worker may take, in MB")] = 4096,
) -> None:
    """Compute a build's features and write its chunks, or publish a schema's features of a stream as they come.

    More workers of the same build, or of the same stream and schema, share the symbols.
    """
    import sys

    from lit.logs import configure
    from lit.processors.app import run
    from lit.processors.driver import worker_job
    from lit.processors.features import FeatureWorker, features_app
    from lit.processors.job import load_job, logs_folder
    from lit.processors.live_features import live_features, live_features_app
    from lit.processors.progress import is_driven
    from lit.processors.watch import Printed, ScriptLines, Watch, limit_memory, tell_when_asked
    from lit.processors.workers import report_folder
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.errors import UserError
    from lit.streams.workspace import Workspace

    settings = Settings()
    configure(settings)
    if bool(build) == bool(stream and schema):
        raise UserError("name a build (--build 3), or a stream and a schema (--stream feed --schema volatility)")
    if stream:
        with kafka(settings.data, settings.kafka) as bootstrap:
            config = live_features(Workspace(settings.data, team), stream, schema, bootstrap, settings.replication)
            config.create_topics()
            run(live_features_app(config))
        return
    tell_when_asked()
    for handler in logging.getLogger().handlers:
        handler.addFilter(ScriptLines())
    logging.getLogger("lit.processors.app").setLevel(logging.WARNING)
    sys.stdout = Printed()  # type: ignore[assignment]
    workspace = Workspace(settings.data, team)
    job = load_job(workspace, build)
    with kafka(settings.data, settings.kafka) as bootstrap:
        worker = FeatureWorker(worker_job(workspace, job, bootstrap))
        limit_memory(memory_mb << 20)
        logs = logs_folder(workspace, build)
        watch = Watch(worker, report_folder(logs, job.attempt), script_seconds, lambda: is_driven(logs))
        watch.start()
        run(features_app(worker))
        watch.stop()


def stream(
    name: Annotated[str, typer.Option(help="the stream, a file in the team's streams folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
) -> None:
    """Feed a stream's ticks into its topic, or serve an output, until its adapter has no more or Ctrl-C."""
    import asyncio
    import pkgutil
    import signal

    from lit.logs import configure
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.live import load_stream
    from lit.streams.live_run import run_stream
    from lit.streams.stream_adapters import load_stream_adapter
    from lit.streams.workspace import Workspace

    settings = Settings()
    configure(settings)
    workspace = Workspace(settings.data, team)
    server = load_stream_adapter(workspace, load_stream(workspace, name).adapter.name).server

    async def run(bootstrap: str) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        if server is None:
            await run_stream(workspace, name, bootstrap, stop, replication=settings.replication)
        else:
            await pkgutil.resolve_name(server)(workspace, name, bootstrap, stop)

    with kafka(settings.data, settings.kafka) as bootstrap:
        asyncio.run(run(bootstrap))


def deployment(
    name: Annotated[str, typer.Option(help="the deployment, a file in the team's preview folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    after: Annotated[int | None, typer.Option(help="take over once this process has ended")] = None,
    ready: Annotated[Path | None, typer.Option(help="file to make when ready to take over")] = None,
) -> None:
    """Predict at each closed bar of a deployment's stream, and score what was predicted."""
    from lit.logs import configure
    from lit.processors.app import run
    from lit.serving.deployment import await_end, deployment_app
    from lit.serving.opening import config_of, load_deployment, open_models
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.clients import tick_partitions
    from lit.streams.errors import UserError
    from lit.streams.workspace import Workspace

    settings = Settings()
    configure(settings)
    workspace = Workspace(settings.data, team)
    found = load_deployment(workspace, name)
    if not (found.output.models or found.output.shadow):
        raise UserError(f"deployment {name!r} has no model: choose at least one vault item for it")
    with kafka(settings.data, settings.kafka) as bootstrap:
        if found.stream not in workspace.names("streams"):
            tick_partitions(bootstrap, team, found.stream)  # else it would wait for ticks for ever
        models = open_models(workspace, found)
        config = config_of(workspace, found, bootstrap, settings.replication)
        config.create_topics()
        if ready is not None:
            ready.touch()
        if after is not None:
            await_end(after)
        logging.getLogger("deployment").info(
            "%s serves %s on %s", name, [*found.output.models, *found.output.shadow], found.stream
        )
        run(deployment_app(config, models))
