"""What can be done with a stream's file: make, change, start, stop, steer; shown without its secrets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec
from confluent_kafka import KafkaException, TopicPartition

from lit.streams import topics
from lit.streams.clients import bounds, consumer, partitions_of
from lit.streams.errors import FaultError, UserError
from lit.streams.form import Form, left_out
from lit.streams.live import Stream, load_stream, save_stream, stream_path
from lit.streams.live_health import GapView
from lit.streams.records import Event
from lit.streams.stream_adapters import adapter_kind, known_stream_adapters, read_stream_form
from lit.streams.tick import from_iso
from lit.streams.workspace import Workspace

#: More than workers will share, and no more than a broker creates at once.
MOST_PARTITIONS = 256
#: Parameters by which a running stream is steered, where its adapter has them.
STEERED = ("paused", "speed", "seek", "loop")


@dataclass(frozen=True)
class AdapterInfo:
    """A stream adapter as it is listed; `kind` is `input` or `output`."""

    name: str
    kind: str
    form: Form


def list_adapters(workspace: Workspace) -> list[AdapterInfo]:
    """Return the stream adapters that a team can use; those whose docstring is no form are left out."""
    found = []
    for name in known_stream_adapters(workspace):
        try:
            found.append(AdapterInfo(name, adapter_kind(workspace, name), read_stream_form(workspace, name)))
        except UserError:
            continue
    return found


def unusable_adapters(workspace: Workspace) -> list[str]:
    """Return what is wrong with the files that `list_adapters` leaves out, a sentence each."""
    found = []
    for name in known_stream_adapters(workspace):
        try:
            read_stream_form(workspace, name)
        except UserError as error:
            found.append(str(error))
    return found


def check_stream(workspace: Workspace, name: str, stream: Stream) -> Stream:
    """Return a stream as its file will have it, if it fits its adapter's form; a hidden secret stays what it was.

    Raises
    ------
    UserError
        If there is no such adapter, or a parameter is unknown, missing or does not fit.
    """
    form = read_stream_form(workspace, stream.adapter.name)
    before = load_stream(workspace, name).parameters if stream_path(workspace, name).exists() else {}
    parameters = form.unhidden(stream.parameters, before)
    try:
        checked = form.check(parameters)
    except UserError as error:
        raise UserError(f"stream {name!r}, adapter {stream.adapter.name!r}: {error}") from None
    kept = {key: value for key, value in parameters.items() if value is not None and value != ""}
    given = {key: value if left_out(value) else checked[key] for key, value in kept.items()}
    return msgspec.structs.replace(stream, parameters=given)


def put_stream(workspace: Workspace, name: str, stream: Stream) -> Stream:
    """Write a stream's file once it is checked (see `check_stream`)."""
    stream = check_stream(workspace, name, stream)
    save_stream(workspace, name, stream)
    return stream


def partition_stream(bootstrap: str, team: str, name: str, partitions: int, replication: int = 1) -> None:
    """Create a stream's tick topic: whatever follows from it will have as many partitions.

    Raises
    ------
    UserError
        If it is there already with another number.
    FaultError
        If the broker cannot be reached or refuses.
    """
    if not 1 <= partitions <= MOST_PARTITIONS:
        raise UserError(
            f"{partitions} partitions: give 1 to {MOST_PARTITIONS}, as many as workers may share the stream"
        )
    topic = replace(topics.ticks(team, name), partitions=partitions)
    topics.create_topics(bootstrap, topic, replication=replication)
    if (found := len(partitions_of(bootstrap, topic.name))) != partitions:
        raise UserError(
            f"topic {topic.name} is there already, with {found} partitions: name no number, or choose another name "
            "for the stream"
        )


def enable(workspace: Workspace, name: str, enabled: bool) -> Stream:
    """Start or stop a stream; its file says so, so that it stays."""
    stream = msgspec.structs.replace(load_stream(workspace, name), enabled=enabled)
    save_stream(workspace, name, stream)
    return stream


def steer(workspace: Workspace, name: str, **wanted: Any) -> Stream:
    """Change `paused`, `speed`, `seek` or `loop` of a stream; a seek to the same time as the last one is a new seek.

    Raises
    ------
    UserError
        If the stream's adapter cannot be steered so, or a seek is no time.
    """
    stream = load_stream(workspace, name)
    form = read_stream_form(workspace, stream.adapter.name)
    known = {field.name for field in form.fields}
    if unable := sorted(set(wanted) - known):
        raise UserError(
            f"stream {name!r} cannot be steered so: its adapter {stream.adapter.name!r} has no parameter {unable[0]!r} "
            "(replay has)"
        )
    if wanted.get("seek"):
        wanted["seek"] = _again(str(wanted["seek"]), str(stream.parameters.get("seek") or ""))
    return put_stream(workspace, name, msgspec.structs.replace(stream, parameters={**stream.parameters, **wanted}))


def _again(time: str, before: str) -> str:
    try:
        from_iso(time)
    except ValueError as error:
        raise UserError(f"seek {time!r}: {error}") from None
    last, _, count = before.partition("#")
    return f"{time}#{int(count or 1) + 1}" if time == last else time


def hidden_parameters(workspace: Workspace, stream: Stream) -> dict[str, Any]:
    """Return a stream's parameters without secrets; where no adapter tells which are, no value is shown."""
    try:
        form = read_stream_form(workspace, stream.adapter.name)
    except UserError:
        return dict.fromkeys(stream.parameters, None)
    return form.hidden(stream.parameters)


def told_gaps(bootstrap: str, team: str, stream: str, symbol: str | None = None) -> list[GapView]:
    """Return the gaps that a stream told as events, oldest first; events stay for a week, the tick topic for good.

    Raises
    ------
    FaultError
        If Kafka cannot be read.
    """
    topic, found = topics.events(team).name, []
    reader: Any = consumer(bootstrap, "lit-gaps", **{"log_level": 0})
    try:
        if topic not in reader.list_topics(timeout=10.0).topics:
            return []
        low, high = bounds(reader, topic, 0)
        reader.assign([TopicPartition(topic, 0, low)])
        place = low
        while place < high:
            message = reader.poll(5.0)
            if message is None or message.error():
                raise FaultError(f"events of team {team!r} could not be read at offset {place}")
            place = message.offset() + 1
            if message.key() == stream.encode():
                event = msgspec.json.decode(message.value(), type=Event)
                if event.kind == "stream" and event.status == "gap" and symbol in (None, event.detail.get("symbol")):
                    found.append(msgspec.convert(event.detail, GapView))
    except KafkaException as error:
        raise FaultError(f"events of team {team!r} could not be read: {error.args[0].str()}") from error
    finally:
        reader.close()
    return found
