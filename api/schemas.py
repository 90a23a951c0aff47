"""Bodies and answers of the API as its OpenAPI document shows them; those that are records: `record_schemas`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from lit.api.workers import Status as WorkerState
from lit.serving.opening import Deployment


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
    """`{team}/streams/{name}.json`; one not `enabled` does not run.

    `intervals` are bars besides those of a minute, `features` schemas whose features are published.
    """

    adapter: AdapterRef
    parameters: dict[str, Any] = {}
    intervals: list[str] = []
    features: list[str] = []
    enabled: bool = True


class DeploymentOutput(Strict):
    """Which models predict, and on what device; `shadow` ones predict unseen by users."""

    device: str = "cpu"
    models: list[str] = []
    shadow: list[str] = []


class DeploymentParameters(Strict):
    """What a deployment reads; `ticker` has symbols separated by commas, null means all of the stream."""

    ticker: str | None = None
    interval: str = "1minute"


class DeploymentFile(Strict):
    """`{team}/preview/{deployment}.json`."""

    name: str
    output: DeploymentOutput = DeploymentOutput()
    stream: str
    parameters: DeploymentParameters = DeploymentParameters()
    alerts: dict[str, Any] = {}

    def opened(self) -> Deployment:
        """Return it as workers read it."""
        return msgspec.convert(self.model_dump(), Deployment)


class ChosenModel(Strict):
    """A vault item for a deployment; `shadow`: unseen by users."""

    model: str
    shadow: bool = False


class Gap(BaseModel):
    """A hole in a feed: before tick `before_index` of a symbol, `missed` ticks (null: unknown) did not come."""

    symbol: str
    reason: str
    missed: int | None
    since: str | None
    until: str | None
    before_index: int


class StreamHealth(BaseModel):
    """How a live stream does, as its worker last told; `last_tick` is ns since the epoch, times are seconds."""

    state: str
    stale: bool
    connected_at: float | None
    last_received: float | None
    last_tick: str | None
    lag_ms: float | None
    symbols: int
    ticks: int
    blocks: int
    repeats: int
    out_of_order: int
    rejects: dict[str, int]
    reconnects: int
    gaps: int
    recent_gaps: list[Gap]
    last_error: str | None
    position: str | None


class StreamView(BaseModel):
    """A stream as the page lists it; `adapter` null: a topic that was filled by hand, without a file.

    Secrets in `parameters` are hidden. `kind` is `input` or `output`; `health` null: its worker told nothing yet.
    """

    name: str
    adapter: str | None
    kind: str
    enabled: bool
    parameters: dict[str, Any]
    intervals: list[str]
    features: list[str]
    symbols: list[str]
    status: WorkerState
    health: StreamHealth | None


class StreamDetail(StreamView):
    """A stream and its file (null for a topic alone), which may be put again as it is: hidden secrets stay."""

    file: StreamFile | None


class StreamField(BaseModel):
    """A parameter of a stream adapter: what its form asks for; `kind` secret or secrets: never shown."""

    name: str
    kind: str
    help: str
    choices: list[str]
    bounds: list[str]
    default: Any
    required: bool


class StreamAdapterView(BaseModel):
    """A stream adapter; its file is the team's own once it was used."""

    name: str
    kind: Literal["input", "output"]
    summary: str
    fields: list[StreamField]


class Steering(Strict):
    """What to change of a running stream, where its adapter has it; `seek` is ISO 8601 with zone."""

    paused: bool | None = None
    speed: float | None = None
    seek: str | None = None
    loop: bool | None = None


class DeploymentView(BaseModel):
    """A deployment as the page lists it."""

    name: str
    stream: str
    interval: str
    ticker: str | None
    models: list[str]
    shadow: list[str]
    device: str
    alerts: dict[str, Any]
    status: WorkerState
    last_error: str | None


class DeploymentDetail(DeploymentView):
    """A deployment and its file, which may be put again as it is: a secret that is not shown stays."""

    file: DeploymentFile


class Worker(BaseModel):
    """A worker process."""

    name: str
    role: str
    status: WorkerState
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


class Problem(BaseModel):
    """What every error answers: a sentence, and the id that finds the request in the server's log."""

    detail: str
    request_id: str


class Packet(BaseModel):
    """A tick as `adapter[i]` gives it, but with the exact time as text; adapters may add fields."""

    model_config = ConfigDict(extra="allow")

    index: int
    timestamp: str
    symbol: str
    price: float = Field(alias="Price")
    volume: float = Field(alias="Volume")
    sequence: int | None = Field(alias="Seq. No.")
    session: int
    qualifiers: str | None = Field(alias="Qualifiers")
    date_time: str = Field(alias="Date-Time")
