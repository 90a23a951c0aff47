"""Bodies and answers of the API as its OpenAPI document shows them.

What topics carry too is a msgspec record; the document has their schemas under their own names (`record_schemas`).
"""

from __future__ import annotations

import inspect
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from lit.api.asset_schemas import AssetDetail, Assets, AuditProgress, Samples, VerifiedAsset
from lit.api.live.forming import Forming
from lit.api.workers import Status as WorkerState
from lit.serving.alerts import Alert
from lit.serving.comparison import Comparison
from lit.serving.opening import Deployment
from lit.serving.score_report import ModelReport
from lit.serving.score_summary import Summary
from lit.streams.records import Bar, Prediction, Score
from lit.trainer.asset_sample import AssetSample
from lit.trainer.audit import Audit
from lit.trainer.promotions import Promotion

_REFERENCE = "#/components/schemas/{name}"


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


class Bars(msgspec.Struct, frozen=True):
    """Closed bars, oldest first."""

    bars: list[Bar]


class Predictions(msgspec.Struct, frozen=True):
    """Predictions, oldest first."""

    predictions: list[Prediction]


class Scores(msgspec.Struct, frozen=True):
    """Scores, oldest first, and how each model has done up to now."""

    scores: list[Score]
    summary: list[Summary]


class StandingAlert(msgspec.Struct, frozen=True):
    """A condition that stands."""

    rule: str
    subject: str


class DeploymentHealth(msgspec.Struct, frozen=True):
    """How a deployment is doing.

    `last_error` is what its process, or the change that did not take over from it, said last; `lag` counts messages of
    ticks that wait; latencies are of the worst partition, from the arrival of the ticks that close a bar to publishing;
    `drift` is model, `feature.column` and population stability index; `alerts` are those since the server started,
    oldest first.
    """

    name: str
    status: str
    partitions: int
    lag: int
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    last_prediction: str | None
    predictions: dict[str, int]
    drift: dict[str, dict[str, float]]
    standing: list[StandingAlert]
    alerts: list[Alert]
    last_error: str | None = None


class DeploymentReport(msgspec.Struct, frozen=True):
    """How a deployment's models did, and each but the first against the first (the champion) on the same bars."""

    models: list[ModelReport]
    comparisons: list[Comparison]


#: Answers made of records. `Forming` comes over the WebSocket alone, which OpenAPI does not describe.
_RECORDS = (
    *(Bars, Predictions, Scores, Forming, DeploymentHealth, DeploymentReport),
    *(Assets, AssetDetail, AssetSample, Audit, AuditProgress, Promotion, Samples, VerifiedAsset),
)


def record_schemas() -> dict[str, Any]:
    """Return the JSON Schemas of the answers that are records, and of what they are made of, by name."""
    _, components = msgspec.json.schema_components(_RECORDS, ref_template=_REFERENCE)
    for schema in components.values():  # docstrings are indented or not, depending on the Python
        schema["description"] = inspect.cleandoc(schema["description"])
    return components


def answers(record: type[msgspec.Struct], code: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of a route that answers a record."""
    schema = {"$ref": _REFERENCE.format(name=record.__name__)}
    return {code: {"description": "Successful Response", "content": {"application/json": {"schema": schema}}}}
