"""`lit worker …`: one role alone, to scale out or to be supervised."""

from __future__ import annotations

import logging
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
    from lit.processors.bars import BarsConfig, bars_app
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
    build: Annotated[int, typer.Option(help="number of the build, as in the team's logs folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
) -> None:
    """Compute a build's features and write its chunks; more workers of a build share its symbols."""
    from lit.logs import configure
    from lit.processors.app import run
    from lit.processors.build import frozen_features, load_job
    from lit.processors.features import features_app
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.workspace import Workspace

    settings = Settings()
    configure(settings)
    workspace = Workspace(settings.data, team)
    job = load_job(workspace, build)
    with kafka(settings.data, settings.kafka) as bootstrap:
        run(features_app(job.job(workspace, bootstrap), frozen_features(job)))


def stream(
    name: Annotated[str, typer.Option(help="the stream, a file in the team's streams folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
) -> None:
    """Feed a stream's ticks into its topic, until its adapter has no more or Ctrl-C."""
    import signal
    from pathlib import Path
    from threading import Event

    from lit.logs import configure
    from lit.settings import Settings
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.errors import UserError
    from lit.streams.live import load_stream, replay_parameters
    from lit.streams.replay import plan_files, replay
    from lit.streams.workspace import Workspace

    settings, stop = Settings(), Event()
    configure(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    workspace = Workspace(settings.data, team)
    found = load_stream(workspace, name)
    if found.adapter.name != "replay":
        raise UserError(f"stream {name!r}: adapter {found.adapter.name!r} is unknown (there is: replay)")
    parameters = replay_parameters(name, found)
    pace = parameters.pace()
    plan = plan_files(workspace, parameters.adapter, [workspace.root / "raw" / Path(p) for p in parameters.paths])
    with kafka(settings.data, settings.kafka) as bootstrap:
        topic = topics.ticks(team, name)
        topics.create_topics(bootstrap, topic, replication=settings.replication)
        done = replay(bootstrap, topic.name, plan, pace=pace, stop=stop)
    logging.getLogger("stream").info(
        "%s: %d ticks sent, %s", name, done.sent, "stopped" if done.stopped else "at its end"
    )


def deployment(
    name: Annotated[str, typer.Option(help="the deployment, a file in the team's preview folder")],
    team: Annotated[str, typer.Option(help="the team")] = "demo",
) -> None:
    """Predict at each closed bar of a deployment's stream, and score what was predicted."""
    from lit.logs import configure
    from lit.processors.app import run
    from lit.serving.deployment import deployment_app
    from lit.serving.opening import config_of, load_deployment, open_models
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.errors import UserError
    from lit.streams.workspace import Workspace

    settings = Settings()
    configure(settings)
    workspace = Workspace(settings.data, team)
    found = load_deployment(workspace, name)
    if not found.output.models:
        raise UserError(f"deployment {name!r} has no model: choose at least one vault item for it")
    models = open_models(workspace, found)
    with kafka(settings.data, settings.kafka) as bootstrap:
        config = config_of(workspace, found, bootstrap, settings.replication)
        config.create_topics()
        logging.getLogger("deployment").info("%s serves %s on %s", name, found.output.models, found.stream)
        run(deployment_app(config, models))
