"""A deployment as a Faust app: bars in, predictions and scores out, each once though it is killed and restarted.

Its output is its state. On taking a partition over, the owner reads which predictions and scores exist, reads the
bars from their beginning to fill its windows, and predicts only at bars newer than those. A new deployment begins
with the bars that come after it; earlier ones are its warm start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import faust
import msgspec

from lit.features.intervals import Interval
from lit.processors.app import create_app, guarded, raw_topic
from lit.processors.delivery import TransactionalPartition, read_partition
from lit.serving.predictions import Model, SymbolServing
from lit.streams import topics
from lit.streams.records import Bar, Prediction, Score, decode_bars, encode_json


@dataclass(frozen=True)
class DeploymentConfig:
    """A deployment as its file in `preview/` describes it."""

    bootstrap: str
    team: str
    name: str
    stream: str
    interval: Interval
    ticker: str | None = None
    replication: int = 1

    def serves(self, symbol: str) -> bool:
        """Whether a symbol is wanted: the ticker is it, or is it without its venue (`AAPL` of `AAPL.O`)."""
        return self.ticker is None or self.ticker in (symbol, symbol.rpartition(".")[0])

    @property
    def app_id(self) -> str:
        """Consumer group and begin of the transactional ids."""
        return f"lit.{self.team}.deployment.{self.name}".replace(" ", "_")

    @property
    def bars_topic(self) -> str:
        """The input."""
        return topics.bars(self.team, self.stream, str(self.interval)).name

    @property
    def predictions_topic(self) -> str:
        """Predictions."""
        return topics.predictions(self.team, self.name).name

    @property
    def scores_topic(self) -> str:
        """Scores."""
        return topics.scores(self.team, self.name).name

    @property
    def state_topic(self) -> str:
        """Where each partition's beginning is remembered."""
        return topics.state(self.team, "deployment", self.name).name

    def create_topics(self) -> None:
        """Create input, outputs and state as far as they are missing."""
        topics.create_topics(
            self.bootstrap,
            topics.bars(self.team, self.stream, str(self.interval)),
            topics.predictions(self.team, self.name),
            topics.scores(self.team, self.name),
            topics.state(self.team, "deployment", self.name),
            replication=self.replication,
        )


class DeploymentPartition:
    """One partition of bars: its symbols, and the transactions that predictions and scores go into."""

    def __init__(self, config: DeploymentConfig, models: Sequence[Model], partition: int) -> None:
        self._config = config
        self._models = models
        self._symbols: dict[str, SymbolServing] = {}
        self._seen: dict[str, int] = {}
        self._transaction = TransactionalPartition(
            config.bootstrap, config.app_id, config.bars_topic, partition, config.state_topic
        )
        self._begin = self._first_offset()
        self._resume(partition)

    def _first_offset(self) -> int:
        key = f"{self._config.bars_topic}|begin".encode()
        for name, value in self._transaction.read_state():
            if name == key:
                return int(value)
        begin = self._transaction.end_of(self._config.bars_topic)
        self._transaction.begin()
        self._transaction.send_state(key, str(begin).encode())
        self._transaction.commit()
        return begin

    def _resume(self, partition: int) -> None:
        made: dict[tuple[str, str, int], Prediction] = {}
        for value in read_partition(self._config.bootstrap, self._config.predictions_topic, partition):
            prediction = msgspec.json.decode(value, type=Prediction)
            made.setdefault((prediction.model, prediction.symbol, prediction.ordinal), prediction)
            last = self._of(prediction.symbol).last
            last[prediction.model] = max(last.get(prediction.model, -1), prediction.ordinal)
        for value in read_partition(self._config.bootstrap, self._config.scores_topic, partition):
            score = msgspec.json.decode(value, type=Score)
            made.pop((score.model, score.symbol, score.ordinal), None)
        for prediction in made.values():
            self._of(prediction.symbol).wait_for_outcome(prediction)

    def _of(self, symbol: str) -> SymbolServing:
        if symbol not in self._symbols:
            self._symbols[symbol] = SymbolServing(self._config.name, symbol, self._config.interval, self._models)
        return self._symbols[symbol]

    def take(self, message: Any) -> None:
        """Apply a message of bars and publish what follows from it, in one transaction."""
        arrived = message.timestamp
        outputs = [
            output
            for bar in self._new_bars(decode_bars(message.value))
            for output in self._serve(bar, message.offset, arrived)
        ]
        if not outputs:
            return
        self._transaction.begin()
        for output in outputs:
            topic = self._config.scores_topic if isinstance(output, Score) else self._config.predictions_topic
            self._transaction.send(topic, output.symbol.encode(), encode_json(output))
        self._transaction.commit()

    def _new_bars(self, bars: list[Bar]) -> Iterator[Bar]:
        for bar in bars:
            if self._config.serves(bar.symbol) and bar.ordinal > self._seen.get(bar.symbol, -1):
                self._seen[bar.symbol] = bar.ordinal
                yield bar

    def _serve(self, bar: Bar, offset: int, arrived: float) -> Iterator[Prediction | Score]:
        serving = self._of(bar.symbol)
        serving.feed(bar)
        if offset >= self._begin:
            for prediction in serving.predictions(bar):
                now = time.time()
                stamped = msgspec.structs.replace(
                    prediction,
                    published_at=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:23] + "Z",
                    latency_ms=round(max(0.0, now - arrived) * 1000, 3),
                )
                serving.wait_for_outcome(stamped)
                yield stamped
        yield from serving.scores()


def deployment_app(config: DeploymentConfig, models: Sequence[Model]) -> faust.App:
    """Return the Faust app of a deployment; it commits no offsets (see the module's text)."""
    for model in models:
        model.check(config.interval)
    app = create_app(config.app_id, config.bootstrap)
    partitions: dict[int, DeploymentPartition] = {}
    lock = asyncio.Lock()

    async def body(stream: Any) -> None:
        async for event in stream.noack().events():
            async with lock:
                number = event.message.partition
                if number not in partitions:
                    partitions[number] = await asyncio.to_thread(DeploymentPartition, config, models, number)
                await asyncio.to_thread(partitions[number].take, event.message)

    app.agent(raw_topic(app, config.bars_topic), name="deployment")(guarded(body))

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def forget(_app: Any, _revoked: Any, **_: Any) -> None:
        async with lock:
            partitions.clear()

    return app
