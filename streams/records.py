"""The JSON messages that we publish: bars, predictions, scores, events. Their JSON Schemas come from here."""

from __future__ import annotations

from typing import Any

import msgspec


class Bar(msgspec.Struct, frozen=True):
    """A closed bar; its id is (source, symbol, interval, first_index). A repeat is byte-identical."""

    symbol: str
    interval: str
    start: str
    end: str
    open: float
    high: float
    low: float
    close: float
    trades: float
    volume: float
    mean_trade_size: float
    max_trade_size: float
    first_index: int
    last_index: int
    ordinal: int


class Prediction(msgspec.Struct, frozen=True):
    """What a model said at one sample. `ordinal` is the bar's: it grows within (model, symbol).

    `model` is the vault item and `epoch` the epoch of its run that it is. `over_gap`: its inputs reach over a hole in
    the feed, so the market was not what they say.
    """

    deployment: str
    model: str
    symbol: str
    interval: str
    bar_start: str
    index: int
    prediction: list[float]
    inputs_digest: str
    ordinal: int
    published_at: str
    latency_ms: float
    epoch: int = 0
    over_gap: bool = False


class Score(msgspec.Struct, frozen=True):
    """A prediction and what came of it: `outcome` is the label, computed by the label feature itself."""

    deployment: str
    model: str
    symbol: str
    interval: str
    bar_start: str
    index: int
    prediction: list[float]
    inputs_digest: str
    ordinal: int
    published_at: str
    latency_ms: float
    outcome: list[float]
    epoch: int = 0
    over_gap: bool = False


class FeatureVector(msgspec.Struct, frozen=True):
    """What a schema's features are at one sample of a stream; its id is (schema, symbol, index).

    `index` is the tick's place in its symbol's sequence, `time` the tick's, `features` by name: a list of columns, or a
    list of rows. A repeat is byte-identical and has no higher `ordinal`, which grows by one a sample of a symbol.
    `version` is another one where other scripts, parameters or another resolution made it than the vector before.
    """

    schema: str
    symbol: str
    index: int
    time: str
    ordinal: int
    features: dict[str, list[Any]]
    version: str = ""


class Event(msgspec.Struct, frozen=True):
    """Progress or a change of state of a build, run, deployment or stream."""

    kind: str
    name: str
    status: str
    time: str
    detail: dict[str, Any] = {}


RECORDS: dict[str, type[msgspec.Struct]] = {
    "bar": Bar,
    "prediction": Prediction,
    "score": Score,
    "features": FeatureVector,
    "event": Event,
}

encode_json = msgspec.json.encode


def decode_bars(value: bytes) -> list[Bar]:
    """Decode a message of a bar topic: one bar, or an array of them from a backfill."""
    if value[:1] == b"[":
        return msgspec.json.decode(value, type=list[Bar])
    return [msgspec.json.decode(value, type=Bar)]


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a record kind (`bar`, `prediction`, `score`, `features`, `event`)."""
    return msgspec.json.schema(RECORDS[name])
