"""`lit topics` and `lit tail`: what is on the broker."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("topics")(topics)
    app.command("tail")(tail)


def topics(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON array")] = False,
    asyncapi: Annotated[bool, typer.Option("--asyncapi", help="the AsyncAPI 3 document of all topics")] = False,
) -> None:
    """List the topics: kind, partitions, messages."""
    import msgspec

    from lit.settings import Settings
    from lit.streams.broker import kafka

    settings = Settings()
    if asyncapi:
        from importlib.metadata import version

        from lit.streams.asyncapi import document

        text = document(settings.kafka or "127.0.0.1:9092", version("lit"))
        typer.echo(msgspec.json.format(msgspec.json.encode(text), indent=2).decode())
        return
    from lit.streams.catalogue import catalogue

    with kafka(settings.data, settings.kafka) as bootstrap:
        entries = catalogue(bootstrap)
    if as_json:
        typer.echo(msgspec.json.encode(entries).decode())
        return
    if not entries:
        typer.echo("No topics yet: `lit replay` or `lit demo` makes some.")
        return
    width = max(len(entry.name) for entry in entries)
    typer.echo(f"{'topic':<{width}}  {'kind':<11}  partitions     messages")
    for entry in entries:
        typer.echo(f"{entry.name:<{width}}  {entry.kind:<11}  {entry.partitions:>10}  {entry.messages:>11,}")


def tail(
    topic: Annotated[str, typer.Argument(help="whole name, or short: bars.replay.1minute")],
    team: Annotated[str | None, typer.Option(help="team of a short name")] = None,
    count: Annotated[int | None, typer.Option("-n", min=1, help="stop after this many records")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="first what is there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="whole records, one JSON object a line")] = False,
) -> None:
    """Follow a topic until Ctrl-C."""
    from lit.settings import Settings
    from lit.streams.broker import kafka
    from lit.streams.catalogue import catalogue, full_name

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        entries = {entry.name: entry for entry in catalogue(bootstrap)}
        entry = entries[full_name(topic, team, list(entries))]
        try:
            _follow(bootstrap, entry.name, entry.kind, count, from_beginning, as_json)
        except KeyboardInterrupt:
            return


def _follow(bootstrap: str, name: str, kind: str, count: int | None, from_beginning: bool, whole: bool) -> None:
    from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition

    from lit.streams.catalogue import describe
    from lit.streams.clients import consumer
    from lit.streams.errors import FaultError

    reader: Any = consumer(bootstrap, "lit.tail", **{"log_level": 0})
    start = OFFSET_BEGINNING if from_beginning else OFFSET_END
    try:
        partitions = reader.list_topics(name, timeout=10).topics[name].partitions
        reader.assign([TopicPartition(name, number, start) for number in partitions])
        shown = 0
        while count is None or shown < count:
            message = reader.poll(0.5)
            if message is None:
                continue
            if message.error():
                raise FaultError(f"Kafka refused to read {name}: {message.error().str()}")
            for line in describe(kind, message, whole)[: None if count is None else count - shown]:
                typer.echo(line)
                shown += 1
    finally:
        reader.close()
