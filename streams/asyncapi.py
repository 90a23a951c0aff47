"""The AsyncAPI 3 document of our topics: what a consumer in any language needs to know."""

from __future__ import annotations

from typing import Any

from lit.streams.codec import TICKS, WATERMARK
from lit.streams.records import RECORDS, json_schema

#: kind → (address, what it carries, record name or None for tick blocks)
CHANNELS: dict[str, tuple[str, str, str | None]] = {
    "ticks": ("lit.{team}.ticks.{source}", "Tick blocks and watermarks of a source, as recorded.", None),
    "bars": ("lit.{team}.bars.{source}.{interval}", "Closed bars; a backfill may put an array in a message.", "bar"),
    "features": ("lit.{team}.features.{source}.{schema}", "Feature vectors of a stream.", "features"),
    "predictions": ("lit.{team}.predictions.{deployment}", "What models say.", "prediction"),
    "scores": ("lit.{team}.scores.{deployment}", "Predictions with their outcomes.", "score"),
    "events": ("lit.{team}.events", "Builds, runs and deployments as they go.", "event"),
}

_TICK_MESSAGES = {
    "tickBlock": {
        "contentType": TICKS.decode(),
        "summary": "One Arrow IPC stream of one record batch: timestamp (int64 ns UTC), Price, Volume, Seq. No., "
        "session, Qualifiers, then the adapter's own columns. Skip a block whose first-index is lower than expected.",
        "headers": {
            "type": "object",
            "properties": {
                "content-type": {"type": "string"},
                "schema-version": {"type": "string", "const": "1"},
                "first-index": {"type": "string", "description": "index of the first tick in its sequence, decimal"},
                "count": {"type": "string", "description": "number of ticks, decimal"},
                "origin": {"type": "string", "description": "digest of the file a sequence belongs to, if it has one"},
                "sequence": {"type": "string", "description": "JSON: the provider's numbers by channel, as runs"},
            },
            "required": ["content-type", "schema-version", "first-index", "count"],
        },
    },
    "watermark": {
        "contentType": WATERMARK.decode(),
        "summary": "No tick of this symbol before the timestamp follows; 9223372036854775807 ends the sequence. "
        "With a gap (and a header of that name): the feed lost ticks between this message and the next block.",
        "payload": {
            "type": "object",
            "properties": {
                "symbol": {"type": "string"},
                "timestamp": {"type": "string", "description": "ns since the epoch, decimal"},
                "time": {"type": ["string", "null"], "format": "date-time"},
                "gap": {
                    "type": "object",
                    "properties": {
                        "reason": {"type": "string"},
                        "missed": {"type": ["integer", "null"], "description": "ticks lost; null: unknown"},
                        "since": {"type": ["string", "null"], "description": "last tick before it, ns, decimal"},
                        "until": {"type": ["string", "null"], "description": "when the feed went on, ns, decimal"},
                    },
                    "required": ["reason", "missed", "since", "until"],
                },
            },
            "required": ["symbol", "timestamp", "time"],
        },
    },
}


def document(bootstrap: str, version: str) -> dict[str, Any]:
    """Return the document for a cluster at `bootstrap`."""
    messages: dict[str, Any] = dict(_TICK_MESSAGES)
    schemas: dict[str, Any] = {}
    for name in RECORDS:
        found = json_schema(name)
        schemas.update(found.get("$defs", {}))
        payload: dict[str, Any] = {"$ref": _local(found["$ref"])}
        if name == "bar":
            payload = {"oneOf": [payload, {"type": "array", "items": payload}]}
        messages[name] = {"contentType": "application/json", "payload": payload}
    channels, operations = {}, {}
    for kind, (address, text, record) in CHANNELS.items():
        names = ["tickBlock", "watermark"] if kind == "ticks" else [record or kind]
        channels[kind] = {
            "address": address,
            "description": f"{text} Key: the symbol.",
            "parameters": {part[1:-1]: {} for part in address.split(".") if part.startswith("{")},
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        }
        operations[f"read_{kind}"] = {"action": "receive", "channel": {"$ref": f"#/channels/{kind}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "LIT topics", "version": version, "license": {"name": "Apache-2.0"}},
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": bootstrap, "protocol": "kafka"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _local(reference: str) -> str:
    return reference.replace("#/$defs/", "#/components/schemas/")
