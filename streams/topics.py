"""Topic names, their settings, and the one place that creates them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from lit.streams.errors import FaultError
from lit.streams.workspace import checked_name, topic_part

#: A symbol's messages stay in one partition, so partitions bound how many workers share a topic. Each has transactions
#: of its own: on two cores, predictions of a stream with four come twice as late as with one.
PARTITIONS = 1
#: Ticks of files are read by several workers at once, by those of a build above all.
FILE_PARTITIONS = 4
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
FOREVER = {"retention.ms": "-1"}
COMPACTED = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "600000"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to be: its name, number of partitions and broker settings.

    Parameters
    ----------
    partitions
        None: as many as the topics that it is created with, `PARTITIONS` where none of them exists.
    """

    name: str
    partitions: int | None = None
    config: dict[str, str] = field(default_factory=lambda: dict(FOREVER))


def _name(team: str, *parts: str) -> str:
    return ".".join(["lit", *(topic_part(checked_name(part)) for part in (team, *parts))])


def ticks(team: str, source: str) -> Topic:
    """Tick blocks and watermarks of a source, as recorded: the truth that everything can be rebuilt from."""
    return Topic(_name(team, "ticks", source))


def file_ticks(team: str, source: str) -> Topic:
    """Tick blocks and watermarks of files."""
    return replace(ticks(team, source), partitions=FILE_PARTITIONS)


def bars(team: str, source: str, interval: str) -> Topic:
    """Closed bars (JSON), same partitions as the ticks."""
    return Topic(_name(team, "bars", source, interval))


def state(team: str, role: str, source: str) -> Topic:
    """State of a processor, compacted, same partitions as its input."""
    return Topic(_name(team, "state", role, source), config=dict(COMPACTED))


def features(team: str, source: str, schema: str) -> Topic:
    """Feature vectors of a stream (JSON)."""
    return Topic(_name(team, "features", source, schema))


def predictions(team: str, deployment: str) -> Topic:
    """Predictions of a deployment (JSON)."""
    return Topic(_name(team, "predictions", deployment))


def scores(team: str, deployment: str) -> Topic:
    """Predictions with what came of them (JSON)."""
    return Topic(_name(team, "scores", deployment))


def events(team: str) -> Topic:
    """What builds, runs and deployments are doing: what the UI shows live (JSON)."""
    return Topic(_name(team, "events"), partitions=1, config={"retention.ms": str(7 * 86_400_000)})


def dead_letters(team: str, source: str) -> Topic:
    """Messages that could not be read, as they came, with the reason in a header."""
    return Topic(_name(team, "dead", source), partitions=1)


def create_topics(bootstrap: str, *wanted: Topic, replication: int = 1) -> None:
    """Create the topics that do not exist yet; those that follow from a source's ticks are named with it, the first.

    Raises
    ------
    FaultError
        If the broker cannot be reached or refuses.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 10_000, "log_level": 0})
    try:
        known = admin.list_topics(timeout=20).topics
    except KafkaException as error:
        raise FaultError(
            f"Kafka at {bootstrap} does not answer: {error.args[0].str()}. `lit doctor` tells whether the broker runs."
        ) from error
    shared = [topic for topic in wanted if topic.partitions is None]
    partitions = next((len(known[topic.name].partitions) for topic in shared if topic.name in known), PARTITIONS)
    new = [
        NewTopic(
            topic.name,
            num_partitions=topic.partitions or partitions,
            replication_factor=replication,
            config={"max.message.bytes": str(MAX_MESSAGE_BYTES), **topic.config},
        )
        for topic in wanted
        if topic.name not in known
    ]
    if not new:
        return
    for name, future in admin.create_topics(new, request_timeout=20).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise FaultError(
                    f"Kafka at {bootstrap} did not create topic {name}: {error.args[0].str()}. "
                    "Is the broker running? `lit doctor` tells."
                ) from error


def delete_topics(bootstrap: str, *unwanted: Topic) -> None:
    """Delete topics; those that do not exist, or a broker that is gone, are passed over."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 10_000, "log_level": 0})
    for future in admin.delete_topics([topic.name for topic in unwanted], request_timeout=10).values():
        try:
            future.result()
        except KafkaException:
            continue
