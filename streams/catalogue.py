"""Which topics of ours exist, how much is in them, and what a message says in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from lit.streams.codec import PoisonError, decode
from lit.streams.errors import FaultError, UserError
from lit.streams.tick import Gap, TickBlock, iso_ms

KINDS = ("ticks", "bars", "features", "predictions", "scores", "events", "state", "dead")


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """A topic that exists; `messages` counts offsets, so compacted or transactional topics hold fewer."""

    name: str
    team: str
    kind: str
    partitions: int
    messages: int


def catalogue(bootstrap: str) -> list[TopicEntry]:
    """Return our topics, by name.

    Raises
    ------
    FaultError
        If the broker does not answer.
    """
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": "lit.catalogue", "log_level": 0})
    try:
        found = probe.list_topics(timeout=10).topics
        entries = []
        for name in sorted(found):
            parts = name.split(".")
            if parts[0] != "lit" or not (kind := _kind(parts)):
                continue
            numbers = list(found[name].partitions)
            marks = [probe.get_watermark_offsets(TopicPartition(name, number), timeout=10) for number in numbers]
            entries.append(TopicEntry(name, parts[1], kind, len(numbers), sum(high - low for low, high in marks)))
        return entries
    except KafkaException as error:
        raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}. `lit doctor` tells.") from error
    finally:
        probe.close()


def _kind(parts: list[str]) -> str | None:
    return next((part for part in parts[2:3] if part in KINDS), None)


def full_name(name: str, team: str | None, existing: list[str]) -> str:
    """Return the topic meant by a full or short name.

    Raises
    ------
    UserError
        If there is no such topic, or the short name fits several teams.
    """
    if name in existing:
        return name
    fits = [topic for topic in existing if topic.split(".", 2)[2] == name and team in (None, topic.split(".")[1])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(
            f"topic {name!r} exists in several teams ({', '.join(fits)}): add --team or give the whole name."
        )
    known = ", ".join(existing[:8]) or "none yet"
    raise UserError(f"there is no topic {name!r}. Existing: {known}. `lit topics` lists them all.")


def describe(kind: str, message: Any, whole: bool) -> list[str]:
    """Return the lines that show a message: short ones, or (whole) JSON."""
    if kind != "ticks":
        value = message.value() or b"null"
        try:
            parsed = msgspec.json.decode(value)
        except msgspec.DecodeError:
            return [repr(value[:200])]
        rows = parsed if isinstance(parsed, list) else [parsed]
        return [msgspec.json.encode(row).decode() if whole else _short(row) for row in rows]
    try:
        item = decode(message.key(), message.value(), message.headers())
    except PoisonError as error:
        return [f"{message.partition()}@{message.offset()} unreadable: {error}"]
    if not isinstance(item, TickBlock) and item.gap:
        return [_gap(item.symbol, item.next_index, item.gap, whole)]
    if not isinstance(item, TickBlock):
        time = "the end" if item.ends else iso_ms(item.timestamp)
        row = {"symbol": item.symbol, "watermark": str(item.timestamp)}
        return [msgspec.json.encode(row).decode() if whole else f"{item.symbol} watermark {time}"]
    if whole:
        return [msgspec.json.encode(item.packet(position)).decode() for position in range(len(item))]
    if not len(item):
        return [f"{item.symbol} [{item.first_index}] empty"]
    span = f"{iso_ms(int(item.timestamp[0]))} … {iso_ms(int(item.timestamp[-1]))}"
    return [f"{item.symbol} [{item.first_index}…{item.next_index - 1}] {len(item)} ticks {span} last {item.price[-1]}"]


def _gap(symbol: str, index: int, gap: Gap, whole: bool) -> str:
    if whole:
        times = {"since": gap.since and str(gap.since), "until": gap.until and str(gap.until)}
        row = {"symbol": symbol, "before_index": index, "gap": {"reason": gap.reason, "missed": gap.missed, **times}}
        return msgspec.json.encode(row).decode()
    missed = "an unknown number of" if gap.missed is None else f"{gap.missed:,}"
    since = f" since {iso_ms(gap.since)}" if gap.since is not None else ""
    return f"{symbol} [{index}] GAP ({gap.reason}): {missed} ticks missing{since}"


def _short(row: Any) -> str:
    if not isinstance(row, dict):
        return str(row)
    return " ".join(f"{name}={value}" for name, value in row.items() if value not in (None, "", {}))
