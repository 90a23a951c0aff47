"""What deployments publish, read from their topics, each record once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lit.settings import Settings
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace, checked_name

if TYPE_CHECKING:
    import pandas as pd

    from lit.streams.records import Prediction, Score

R = TypeVar("R", "Prediction", "Score")


def predictions(team: str, deployment: str, *, shadow: bool = False) -> pd.DataFrame:
    """Return all predictions on record (or those of shadow models), each once, in the order of their publishing.

    Raises
    ------
    UserError
        If there is no such deployment.
    FaultError
        If Kafka does not answer.
    """
    from lit.streams.records import Prediction

    return _frame(team, deployment, Prediction, shadow)


def scores(team: str, deployment: str, *, shadow: bool = False) -> pd.DataFrame:
    """Return all predictions whose outcome is known, with it (or those of shadow models), each once.

    Raises
    ------
    UserError
        If there is no such deployment.
    FaultError
        If Kafka does not answer.
    """
    from lit.streams.records import Score

    return _frame(team, deployment, Score, shadow)


def follow(team: str, deployment: str, *, shadow: bool = False) -> Generator[Prediction, None, None]:
    """Yield the predictions on record and then each that comes, for as long as it is asked; each once.

    Raises
    ------
    UserError
        If there is no such deployment.
    FaultError
        If Kafka does not answer.
    """
    from lit.streams.records import Prediction

    with _records(team, deployment, Prediction, shadow) as records:
        for prediction in records:
            if prediction is not None:
                yield prediction


def stream_of(path: Path) -> str:
    """Return the stream that a deployment's file names.

    Raises
    ------
    UserError
        If it is no deployment's file.
    """
    try:
        return str(json.loads(path.read_bytes())["stream"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a deployment's file: it names no stream") from error


@contextmanager
def _records(
    team: str, deployment: str, kind: type[R], shadow: bool = False
) -> Generator[Generator[R | None, None, None], None, None]:
    """Yield an endless reader of a deployment's predictions or scores; None comes once all on record has been read."""
    from confluent_kafka import KafkaException

    from lit.serving.config import SHADOW
    from lit.streams import topics
    from lit.streams.broker import kafka
    from lit.streams.clients import consumer
    from lit.streams.records import Prediction

    settings = Settings()
    path = Workspace(settings.data, team).path("preview", f"{checked_name(deployment, 'deployment')}.json")
    if not path.is_file():
        known = Workspace(settings.data, team).names("preview")
        raise UserError(f"team {team!r} has no deployment {deployment!r} (there are: {', '.join(known) or 'none yet'})")
    with kafka(settings.data, settings.kafka) as bootstrap:
        of = topics.predictions if kind is Prediction else topics.scores
        topic, ticks = of(team, deployment + SHADOW * shadow), topics.ticks(team, stream_of(path))
        topics.create_topics(bootstrap, ticks, topic, replication=settings.replication)
        reader = consumer(bootstrap, f"lit.sdk.{uuid.uuid4()}", **{"enable.partition.eof": True})
        try:
            yield _read(reader, topic.name, kind)
        except KafkaException as error:
            raise FaultError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
        finally:
            reader.close()


def _read(reader: Any, topic: str, kind: type[R]) -> Generator[R | None, None, None]:
    import msgspec
    from confluent_kafka import KafkaError, KafkaException, TopicPartition

    from lit.streams.dedup import Dedup

    unread = set(reader.list_topics(topic, 10.0).topics[topic].partitions)
    reader.assign([TopicPartition(topic, number, 0) for number in unread])
    dedup, told = Dedup(), False
    while True:
        for message in reader.consume(500, 0.2):
            if (error := message.error()) is None:
                yield from dedup.fresh([msgspec.json.decode(message.value(), type=kind)])
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
        if not unread and not told:
            told = True
            yield None


def _frame(team: str, deployment: str, kind: type[R], shadow: bool) -> pd.DataFrame:
    """Return all that is on record as a DataFrame, in the order in which it was published."""
    import msgspec
    import pandas as pd

    rows = []
    with _records(team, deployment, kind, shadow) as records:
        for record in records:
            if record is None:
                break
            rows.append(msgspec.structs.asdict(record))
    frame = pd.DataFrame(rows, columns=[field.name for field in msgspec.structs.fields(kind)])
    for name in ("bar_start", "published_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame.sort_values("published_at", kind="stable", ignore_index=True)
