"""The feature processor of a stream: a schema's features published as they become known, by the engine of builds.

A worker's state is what it can recompute, and how far it has published: it reads its partitions from their beginning,
and vectors go out in one transaction with the last index of each symbol's. So after any kill each vector is there
once, for readers of committed data.

A newer build of the schema takes over behind the last vector: what is published stays, and vectors say their version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faust
import msgspec

from lit.features.engine import FeatureEngine, Samples
from lit.features.library import load_features
from lit.features.probe import intervals_of, probe
from lit.features.schema import Schema, load_schema
from lit.processors.app import create_app, guarded, is_current, raw_topic
from lit.processors.batches import Batch
from lit.processors.delivery import TransactionalPartition, read_ticks, unseen
from lit.processors.job import FrozenFeature, features_version, freeze, thaw
from lit.processors.progress import last_complete
from lit.streams import topics
from lit.streams.codec import PoisonError, decode
from lit.streams.records import FeatureVector, encode_json
from lit.streams.tick import TickBlock, Watermark, iso
from lit.streams.workspace import Workspace

log = logging.getLogger(__name__)

#: A transaction is closed at this many vectors, or when a fetch is done with.
GROUP_VECTORS = 1024


@dataclass(frozen=True)
class LiveFeatures:
    """What a live feature worker needs to know."""

    bootstrap: str
    team: str
    source: str
    schema: Schema
    features: dict[str, FrozenFeature]
    replication: int = 1

    @property
    def app_id(self) -> str:
        """Consumer group, and begin of the transactional id."""
        return f"lit.{self.team}.features.{self.source}.{self.schema.name}".replace(" ", "_")

    @cached_property
    def version(self) -> str:
        """What its vectors are marked with."""
        return features_version(self.schema.resolution, self.features)

    @property
    def topic(self) -> str:
        """The output."""
        return topics.features(self.team, self.source, self.schema.name).name

    @property
    def state(self) -> topics.Topic:
        """How far each symbol is published."""
        return topics.state(self.team, "features", f"{self.source}.{self.schema.name}")

    def create_topics(self) -> None:
        """Create input, output and state as far as they are missing."""
        wanted = (
            topics.ticks(self.team, self.source),
            topics.features(self.team, self.source, self.schema.name),
            self.state,
        )
        topics.create_topics(self.bootstrap, *wanted, replication=self.replication)

    def engine(self, symbol: str) -> FeatureEngine:
        """Return a symbol's engine at its first tick."""
        features = thaw(self.features)
        return FeatureEngine(symbol, features, self.schema.resolution, intervals_of(probe(features)))


class Published(msgspec.Struct):
    """How far a symbol is published: the last index, and how many vectors."""

    index: int = -1
    count: int = 0


def live_features(workspace: Workspace, source: str, schema: str, bootstrap: str, replication: int = 1) -> LiveFeatures:
    """Return a schema's live features as its last complete build had them; unbuilt, as they are now."""
    job = last_complete(workspace, schema)
    found = job.schema if job else load_schema(workspace, schema)
    features = job.features if job else freeze(load_features(workspace, found.features))
    return LiveFeatures(bootstrap, workspace.team, source, found, features, replication)


def vectors(config: LiveFeatures, samples: Samples, published: Published) -> Iterator[FeatureVector]:
    """Yield the records of samples behind the last one published, by whichever version, and count them as published."""
    for row in range(len(samples)):
        index = int(samples.index[row])
        if index > published.index:
            values = {name: column[row].tolist() for name, column in samples.values.items()}
            time = iso(int(samples.timestamp[row]))
            yield FeatureVector(
                config.schema.name, samples.symbol, index, time, published.count, values, config.version
            )
            published.index, published.count = index, published.count + 1


class LivePartition:
    """One input partition: its symbols' engines, and the transactions that their vectors go into."""

    def __init__(self, config: LiveFeatures, partition: int) -> None:
        self._config = config
        self._transaction = TransactionalPartition(
            config.bootstrap, config.app_id, topics.ticks(config.team, config.source).name, partition, config.state.name
        )
        self._engines: dict[str, FeatureEngine] = {}
        self._published = {
            key.decode(): msgspec.json.decode(value, type=Published) for key, value in self._transaction.read_state()
        }

    def take(self, messages: Iterable[Any]) -> None:
        """Apply messages and publish what follows from them."""
        waiting: list[FeatureVector] = []
        for message in messages:
            try:
                item = decode(message.key, message.value, message.headers)
            except PoisonError as error:
                log.error("offset %d is left out: %s", message.offset, error)
                continue
            samples = feed(self._config, self._engines, item)
            published = self._published.setdefault(item.symbol, Published())
            waiting += vectors(self._config, samples, published)
            if len(waiting) >= GROUP_VECTORS:
                self._publish(waiting)
                waiting = []
        self._publish(waiting)

    def _publish(self, records: Sequence[FeatureVector]) -> None:
        if not records:
            return
        self._transaction.begin()
        for record in records:
            self._transaction.send(self._config.topic, record.symbol.encode(), encode_json(record))
        for symbol in {record.symbol for record in records}:
            self._transaction.send_state(symbol.encode(), encode_json(self._published[symbol]))
        self._transaction.commit()


def feed(config: LiveFeatures, engines: dict[str, FeatureEngine], item: TickBlock | Watermark) -> Samples:
    """Apply a message to its symbol's engine; repeats give nothing, gaps raise `SequenceError`."""
    engine = engines.get(item.symbol)
    if engine is None:
        engine = engines[item.symbol] = config.engine(item.symbol)
    fresh = unseen(item, engine.next_index, f"in the topic of {config.source!r}")
    return engine.none if fresh is None else engine.feed(fresh)


def recomputed(config: LiveFeatures, partition: int) -> dict[str, list[FeatureVector]]:
    """Return what a partition's recorded ticks make, by symbol: the backfill that live must equal."""
    engines: dict[str, FeatureEngine] = {}
    published: dict[str, Published] = {}
    found: dict[str, list[FeatureVector]] = {}
    for item in read_ticks(config.bootstrap, topics.ticks(config.team, config.source).name, partition):
        samples = feed(config, engines, item)
        own = published.setdefault(item.symbol, Published())
        found.setdefault(item.symbol, []).extend(vectors(config, samples, own))
    return found


def live_features_app(config: LiveFeatures) -> faust.App:
    """Return the Faust app; several workers share the symbols."""
    app = create_app(config.app_id, config.bootstrap)
    partitions: dict[int, LivePartition] = {}
    lock = asyncio.Lock()

    async def take(batch: Batch) -> None:
        if batch.partition not in partitions:
            partitions[batch.partition] = await asyncio.to_thread(LivePartition, config, batch.partition)
        await asyncio.to_thread(partitions[batch.partition].take, batch.take())

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            async with lock:
                if is_current(app, event):
                    await take(event.message)

    app.agent(raw_topic(app, topics.ticks(config.team, config.source).name), name="live_features")(guarded(body))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        async with lock:
            partitions.clear()

    return app
