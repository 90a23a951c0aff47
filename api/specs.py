"""Which workers should run, by the files of the teams and the tick topics that exist."""

from __future__ import annotations

import sys
from dataclasses import replace

from lit.api import definitions
from lit.api.caching import caching_workers
from lit.api.definitions import intervals_of
from lit.api.services import Services
from lit.api.workers import WorkerSpec
from lit.processors.feature_versions import wanted_version
from lit.streams.errors import UserError
from lit.streams.stream_adapters import adapter_kind
from lit.streams.workspace import Workspace

#: The command line of this environment, wherever its scripts are.
_COMMAND = "from lit.cli import main; main()"


def desired_workers(services: Services) -> list[WorkerSpec]:
    """Return the workers of all teams: of streams (adapter, bars, sink, features), caches, cachings, deployments.

    On a cluster that others may share, only teams with a folder here are ours.
    """
    teams = set(definitions.teams(services.data))
    if services.config.embedded:
        teams |= services.broker.teams()
    return [spec for team in sorted(teams) for spec in _team_workers(services, team)]


def _team_workers(services: Services, team: str) -> list[WorkerSpec]:
    deployments = services.deployments(team)
    specs: list[WorkerSpec] = []
    outputs: set[str] = set()
    for stream, file in services.streams(team).items():
        try:
            intervals = ",".join(intervals_of(stream, file, deployments))
        except UserError:  # a file changed by hand: what it says of intervals is left out
            intervals = ",".join(intervals_of(stream, None, {}))
        if file is not None and file.enabled:
            specs.append(_spec(services, team, "stream", stream, "--name", stream))
        if file is not None and adapter_kind(Workspace(services.data, team), file.adapter.name) == "output":
            outputs.add(stream)  # it has no ticks, and predicts by itself what its deployments name
            continue
        specs.append(_spec(services, team, "bars", stream, "--source", stream, "--intervals", intervals))
        specs.append(_spec(services, team, "sink", stream, "--source", stream))
        for schema in file.features if file else ():
            options = ("--stream", stream, "--schema", schema)
            spec = _spec(services, team, "features", f"{stream}.{schema}", *options)
            specs.append(replace(spec, revision=wanted_version(Workspace(services.data, team), schema)))
    specs += [_spec(services, team, "sink", source, "--source", source) for source in services.caches(team)]
    command, logs = (sys.executable, "-c", _COMMAND), services.config.private / "logs"
    specs += caching_workers(Workspace(services.data, team), command, logs)
    for name, deployment in deployments.items():
        if deployment.stream not in outputs and (deployment.output.models or deployment.output.shadow):
            spec = _spec(services, team, "deployment", name, "--name", name)
            specs.append(replace(spec, revision=deployment.opened().revision, handover=True))
    return specs


def _spec(services: Services, team: str, role: str, name: str, *options: str) -> WorkerSpec:
    argv = (sys.executable, "-c", _COMMAND, "worker", role, "--team", team, *options)
    log = services.config.private / "logs" / f"{team}.{role}.{name}.log"
    return WorkerSpec(f"{team}/{role}.{name}", role, argv, log)
