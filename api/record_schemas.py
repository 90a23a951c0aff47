"""Answers of the API that are records, as topics carry them too: msgspec structs, shown under their own names."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from lit.api.asset_schemas import AssetDetail, Assets, AuditProgress, Samples, VerifiedAsset
from lit.api.live.forming import Forming
from lit.serving.alerts import Alert
from lit.serving.comparison import Comparison
from lit.serving.score_report import ModelReport
from lit.serving.score_summary import Summary
from lit.streams.records import Bar, Prediction, Score
from lit.trainer.asset_sample import AssetSample
from lit.trainer.audit import Audit
from lit.trainer.promotions import Promotion

_REFERENCE = "#/components/schemas/{name}"


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
    ticks that wait (null while nobody tells); latencies are of the worst partition, from the arrival of the ticks that
    close a bar to publishing; `passed_over` counts bars at which a model's features rejected the sample, or lacked
    history, since its worker started; `drift` is model, `feature.column` and population stability index; `alerts` are
    those since the server started, oldest first.
    """

    name: str
    status: str
    partitions: int
    lag: int | None
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    last_prediction: str | None
    predictions: dict[str, int]
    passed_over: dict[str, int]
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
