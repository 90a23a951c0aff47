"""Bodies and answers of the API as its OpenAPI document shows them; records of topics have their own schemas."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A body: an unknown key is a mistake, not something to ignore."""

    model_config = ConfigDict(extra="forbid")


class Login(Strict):
    """A token for a session."""

    token: str = Field(max_length=512)


class Account(BaseModel):
    """Who is logged in; `teams` null means all."""

    key: str
    role: str
    teams: list[str] | None


class AdapterRef(Strict):
    """The stream adapter by name."""

    name: str


class StreamFile(Strict):
    """`{team}/streams/{name}.json`; `intervals` are bars that it has besides those of a minute."""

    adapter: AdapterRef
    parameters: dict[str, Any] = {}
    intervals: list[str] = []


class DeploymentOutput(Strict):
    """Which models predict, and on what device."""

    device: str = "cpu"
    models: list[str] = []


class DeploymentParameters(Strict):
    """What a deployment reads; `ticker` null means all symbols of the stream."""

    ticker: str | None = None
    interval: str = "1minute"


class DeploymentFile(Strict):
    """`{team}/preview/{deployment}.json`."""

    name: str
    output: DeploymentOutput
    stream: str
    parameters: DeploymentParameters = DeploymentParameters()


class StreamView(BaseModel):
    """A stream as the page lists it; `adapter` null: a topic that was filled by hand, without a file."""

    name: str
    adapter: str | None
    parameters: dict[str, Any]
    intervals: list[str]
    symbols: list[str]
    status: str


class DeploymentView(BaseModel):
    """A deployment as the page lists it."""

    name: str
    stream: str
    interval: str
    ticker: str | None
    models: list[str]
    device: str
    status: str
    last_error: str | None = None


class Worker(BaseModel):
    """A worker process."""

    name: str
    role: str
    status: Literal["running", "starting", "backoff", "stopped", "failed"]
    pid: int | None
    restarts: int
    since: str
    last_error: str | None


class BrokerStatus(BaseModel):
    """Kafka as the server sees it."""

    bootstrap: str
    reachable: bool


class StoreStatus(BaseModel):
    """The tick store."""

    engine: str


class Status(BaseModel):
    """What runs."""

    broker: BrokerStatus
    store: StoreStatus
    workers: list[Worker]


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]
    version: str


class Topic(BaseModel):
    """A topic of ours."""

    name: str
    team: str
    kind: str
    partitions: int
    messages: int
