"""Ticks and watermarks as Kafka messages: Arrow IPC in the value, what a consumer must know first in headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from lit.streams.block_layout import BlockReader
from lit.streams.tick import END_OF_TIME, Gap, TickBlock, Watermark, iso

TICKS = b"application/vnd.apache.arrow.stream"
WATERMARK = b"application/vnd.lit.watermark+json"
SCHEMA_VERSION = b"1"

_reader = BlockReader()

Headers = list[tuple[str, bytes]]


class PoisonError(ValueError):
    """A message that no retry can make readable; it belongs in the dead-letter topic."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Key, value and headers of one Kafka message."""

    key: bytes
    value: bytes
    headers: Headers


class _GapJson(msgspec.Struct):
    reason: str
    missed: int | None
    since: str | None
    until: str | None


class _WatermarkJson(msgspec.Struct, omit_defaults=True):
    symbol: str
    timestamp: str  # ns as text: JavaScript numbers lose digits past 2**53
    time: str | None
    gap: _GapJson | None = None


def encode(item: TickBlock | Watermark) -> Encoded:
    """Encode a block or a watermark; the key is the symbol, so that one symbol stays in order."""
    if isinstance(item, Watermark):
        gap = _gap_json(item.gap) if item.gap else None
        body = _WatermarkJson(item.symbol, str(item.timestamp), None if item.ends else iso(item.timestamp), gap)
        headers = _headers(WATERMARK, item.next_index, 0, item.origin)
        if gap:
            headers.append(("gap", gap.reason.encode()))
        return Encoded(item.symbol.encode(), msgspec.json.encode(body), headers)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, item.batch.schema) as writer:
        writer.write_batch(item.batch)
    return Encoded(
        item.symbol.encode(),
        sink.getvalue().to_pybytes(),
        _headers(TICKS, item.first_index, len(item), item.origin),
    )


def decode(
    key: bytes | None, value: bytes | None, headers: Mapping[str, bytes] | Iterable[tuple[str, bytes]] | None
) -> TickBlock | Watermark:
    """Decode one message of a tick topic.

    Raises
    ------
    PoisonError
        If the message is not one that this version can read; the text says why.
    """
    found = dict(headers or ())
    kind = found.get("content-type")
    if key is None or value is None or kind not in (TICKS, WATERMARK):
        raise PoisonError(f"content type {kind!r} is not a tick block or a watermark")
    if found.get("schema-version") != SCHEMA_VERSION:
        raise PoisonError(f"schema version {found.get('schema-version')!r} is not {SCHEMA_VERSION!r}")
    try:
        first, count = int(found["first-index"]), int(found["count"])
        origin, symbol = found.get("origin", b"").decode(), key.decode()
        if kind == WATERMARK:
            body = msgspec.json.decode(value, type=_WatermarkJson)
            gap = _gap(body.gap) if body.gap else None
            return Watermark(symbol, min(int(body.timestamp), END_OF_TIME), first, origin, gap)
        block = _reader.read(symbol, first, origin, value)
    except (KeyError, ValueError, pa.ArrowException, OSError, msgspec.MsgspecError) as error:
        raise PoisonError(f"unreadable message: {error}") from error
    if len(block) != count or first < 0:
        raise PoisonError(f"header says {count} ticks from {first}, the block has {len(block)}")
    return block


def _gap_json(gap: Gap) -> _GapJson:
    since, until = (None if time is None else str(time) for time in (gap.since, gap.until))
    return _GapJson(gap.reason, gap.missed, since, until)


def _gap(body: _GapJson) -> Gap:
    since, until = (None if text is None else int(text) for text in (body.since, body.until))
    return Gap(body.reason, body.missed, since, until)


def _headers(kind: bytes, first: int, count: int, origin: str) -> Headers:
    headers = [
        ("content-type", kind),
        ("schema-version", SCHEMA_VERSION),
        ("first-index", str(first).encode()),
        ("count", str(count).encode()),
    ]
    return [*headers, ("origin", origin.encode())] if origin else headers
