"""What routes work with; made once by the server and handed to each router."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lit.api import definitions
from lit.api.auth.keys import KeyStore
from lit.api.broker_view import BrokerView
from lit.api.config import ApiConfig
from lit.api.errors import NotFoundError
from lit.api.metrics import Metrics
from lit.api.schemas import DeploymentFile, StreamFile
from lit.api.workers import WorkerStatus
from lit.streams.sources import known_adapters
from lit.streams.store import Stores
from lit.streams.stream_adapters import adapter_kind
from lit.streams.workspace import Workspace, topic_part

#: Tick topics of builds: read by workers of their own, by nobody else.
BUILD_PREFIX = "build-"


class Workers(Protocol):
    """Supervision as routes see it."""

    def statuses(self) -> list[WorkerStatus]:
        """Return what each worker is doing, by name."""

    def restart(self, name: str) -> None:
        """Start a worker anew, also one that has failed."""

    def wake(self) -> None:
        """Look at the files now."""


class NoWorkers:
    """For a server that supervises nothing."""

    def statuses(self) -> list[WorkerStatus]:
        """Return nothing."""
        return []

    def restart(self, name: str) -> None:
        """Refuse."""
        raise NotFoundError(f"this server runs no workers, so {name!r} cannot be restarted")

    def wake(self) -> None:
        """Do nothing."""


@dataclass
class Services:
    """Parts of one server."""

    config: ApiConfig
    stores: Stores
    metrics: Metrics = field(default_factory=Metrics)
    workers: Workers = field(default_factory=NoWorkers)
    live_symbols: Callable[[str, str], frozenset[str]] = field(default=lambda *_: frozenset())
    keys: KeyStore = field(init=False)
    broker: BrokerView = field(init=False)
    _deployments: dict[str, dict[str, DeploymentFile]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = KeyStore(self.config.private)
        self.broker = BrokerView(self.config.bootstrap)

    @property
    def data(self) -> Path:
        """The data root."""
        return self.config.data

    def workspace(self, team: str) -> Workspace:
        """Return a team's folders.

        Raises
        ------
        NotFoundError
            If there is no such team.
        """
        workspace = Workspace(self.data, team)
        if team not in self.teams():
            raise NotFoundError(f"there is no team {team!r}")
        return workspace

    def teams(self) -> list[str]:
        """Return the teams that have a folder or a tick topic."""
        return sorted({*definitions.teams(self.data), *self.broker.teams()})

    def streams(self, team: str) -> dict[str, StreamFile | None]:
        """Return a team's streams; None for a tick topic without a file, filled by `lit replay` say."""
        found: dict[str, StreamFile | None] = dict(definitions.read_all(Workspace(self.data, team), StreamFile))
        gone = Workspace(self.data, team).removed("streams")
        others = {topic_part(name) for name in (*found, *gone)} | set(self.caches(team))
        for name in self.broker.sources(team):
            if name not in others and not name.startswith(BUILD_PREFIX):
                found[name] = None
        return dict(sorted(found.items()))

    def caches(self, team: str) -> list[str]:
        """Return the sources that are caches: files go through a topic of their source adapter."""
        adapters = {topic_part(name) for name in known_adapters(Workspace(self.data, team))}
        files = definitions.names(Workspace(self.data, team), StreamFile)
        return [name for name in self.broker.sources(team) if name in adapters - files]

    def deployments(self, team: str) -> dict[str, DeploymentFile]:
        """Return a team's deployments; one whose file cannot be read any more is what it was before."""
        workspace = Workspace(self.data, team)
        known, found = self._deployments.get(team, {}), definitions.read_all(workspace, DeploymentFile)
        for name in definitions.names(workspace, DeploymentFile) - found.keys():
            if name in known:
                found[name] = known[name]
        self._deployments[team] = found = dict(sorted(found.items()))
        return found

    def existing(self, team: str, stream: str) -> dict[str, StreamFile | None]:
        """Return a team's streams if `stream` is among them.

        Raises
        ------
        NotFoundError
            If it is not.
        """
        for ask_again in (False, True):
            if ask_again:
                self.broker.forget()
            if (streams := self.streams(team)).get(stream) is not None:
                return streams
            if stream in definitions.names(Workspace(self.data, team), StreamFile):
                definitions.read(Workspace(self.data, team), StreamFile, stream)  # says what is wrong with its file
            if stream in streams:
                return streams
        raise NotFoundError(f"team {team!r} has no stream {stream!r}: add it first")

    def intervals(self, team: str, stream: str) -> list[str]:
        """Return the intervals whose bars a stream has.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        """
        streams = self.existing(team, stream)
        found = set(definitions.intervals_of(stream, streams[stream], self.deployments(team)))
        begin = f"lit.{team}.bars.{stream}.".replace(" ", "_")
        return sorted(found | {n.removeprefix(begin) for n in self.broker.names() if n.startswith(begin)})

    def publishes(self, team: str, stream: str, interval: str) -> bool:
        """Tell whether a stream publishes bars of an interval; of one that is not known, Kafka is asked again.

        Raises
        ------
        NotFoundError
            If there is no such stream.
        """
        if interval in self.intervals(team, stream):
            return True
        self.broker.forget()
        return interval in self.intervals(team, stream)

    def symbols(self, team: str, stream: str) -> list[str]:
        """Return the symbols of a stream: those stored, and those seen live."""
        stored = {segment.symbol for segment in self.stores.team(team).segments(stream)}
        return sorted(stored | self.live_symbols(team, stream))

    def server_of(self, team: str, deployment: str, file: DeploymentFile) -> str:
        """Return the name of the worker that serves a deployment: its own, or on an output the stream's."""
        return server_name(team, deployment, file.stream, file.stream in self.outputs(team))

    def outputs(self, team: str) -> set[str]:
        """Return a team's streams that predict on request."""
        workspace = Workspace(self.data, team)
        files = definitions.read_all(workspace, StreamFile).items()
        return {name for name, file in files if adapter_kind(workspace, file.adapter.name) == "output"}

    def status_of(self, worker: str) -> WorkerStatus | None:
        """Return the status of a worker by name."""
        return next((status for status in self.workers.statuses() if status.name == worker), None)


def server_name(team: str, deployment: str, stream: str, on_request: bool) -> str:
    """Return the name of the worker that serves a deployment; `on_request`: its stream is an output."""
    return f"{team}/stream.{stream}" if on_request else f"{team}/deployment.{deployment}"
