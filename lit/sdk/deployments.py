"""Deployments from Python: which there are, what they predicted, and what they predict as it comes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit.settings import Settings
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace, checked_name

if TYPE_CHECKING:
    import pandas as pd

    from lit.streams.records import Prediction


def deployments(team: str) -> dict[str, dict[str, Any]]:
    """Return a team's deployments: stream, models and parameters of each by name.

    Raises
    ------
    UserError
        If a file is no deployment's: which.
    """
    import msgspec

    from lit.serving.opening import load_deployment

    workspace = Workspace(Settings().data, team)
    found = {name: msgspec.to_builtins(load_deployment(workspace, name)) for name in workspace.names("preview")}
    for one in found.values():
        one["alerts"].pop("secret", None)
    return found


def predictions(team: str, deployment: str) -> pd.DataFrame:
    """Return all predictions on record of a deployment, each once, in the order in which they were published.

    Raises
    ------
    UserError
        If there is no such deployment.
    FaultError
        If Kafka does not answer.
    """
    import msgspec
    import pandas as pd

    from lit.streams.records import Prediction

    rows = []
    with _reader(team, deployment) as messages:
        for prediction in messages:
            if prediction is None:
                break
            rows.append(msgspec.structs.asdict(prediction))
    frame = pd.DataFrame(rows, columns=[field.name for field in msgspec.structs.fields(Prediction)])
    for name in ("bar_start", "published_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame.sort_values("published_at", kind="stable", ignore_index=True)


def follow(team: str, deployment: str) -> Generator[Prediction, None, None]:
    """Yield the predictions on record and then each that comes, for as long as it is asked; each once.

    Raises
    ------
    UserError
        If there is no such deployment.
    FaultError
        If Kafka does not answer.
    """
    with _reader(team, deployment) as messages:
        for prediction in messages:
            if prediction is not None:
                yield prediction


def _stream_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["stream"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a deployment's file: it names no stream") from error


@contextmanager
def _reader(team: str, deployment: str) -> Generator[Generator[Prediction | None, None, None], None, None]:
    """Yield an endless reader of a deployment's topic; None comes once all that was there has been read."""
    from confluent_kafka import KafkaException

    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.clients import consumer

    settings = Settings()
    path = Workspace(settings.data, team).path("preview", f"{checked_name(deployment, 'deployment')}.json")
    if not path.is_file():
        known = Workspace(settings.data, team).names("preview")
        raise UserError(f"team {team!r} has no deployment {deployment!r} (there are: {', '.join(known) or 'none yet'})")
    with kafka(settings.data, settings.kafka) as bootstrap:
        topic, ticks = topics.predictions(team, deployment), topics.ticks(team, _stream_of(path))
        topics.create_topics(bootstrap, ticks, topic, replication=settings.replication)
        reader = consumer(bootstrap, f"lit.sdk.{uuid.uuid4()}", **{"enable.partition.eof": True})
        try:
            yield _read(reader, topic.name)
        except KafkaException as error:
            raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
        finally:
            reader.close()


def _read(reader: Any, topic: str) -> Generator[Prediction | None, None, None]:
    import msgspec
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    from lit.streams.dedup import Dedup
    from lit.streams.records import Prediction

    unread = set(reader.list_topics(topic, 10.0).topics[topic].partitions)
    reader.assign([TopicPartition(topic, number, 0) for number in unread])
    dedup, told = Dedup(), False
    while True:
        for message in reader.consume(500, 0.2):
            if (error := message.error()) is None:
                yield from dedup.fresh([msgspec.json.decode(message.value(), type=Prediction)])
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
        if not unread and not told:
            told = True
            yield None
