"""One partition of a deployment: warm start, predictions in batches, scores, and the transactions that they go into.

What is published and the state that includes it are one transaction, whose id is the partition's: a successor fences
its predecessor, reads the state and goes on, so each bar from the deployment's beginning on has one prediction a model.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from lit.processors.delivery import TransactionalPartition, read_partition
from lit.serving.config import DeploymentConfig
from lit.serving.drift import DriftTally
from lit.serving.feed import SymbolFeed
from lit.serving.health import HealthTally
from lit.serving.predictions import Model, Pending, Sample, predict
from lit.serving.recorded import Source, SymbolState, read_recorded
from lit.streams.codec import PoisonError, decode
from lit.streams.records import Prediction, Score, encode_json
from lit.streams.tick import Watermark

log = logging.getLogger(__name__)

#: Progress without predictions is recorded this often.
CHECKPOINT_SECONDS = 5.0
#: Messages whose predictions go into one transaction at the most.
GROUP_MESSAGES = 256
#: Predictions that the log has one by one; of more at once it has the number.
TOLD = 8
POSITION, HEALTH, SYMBOL = b"position", b"health", "symbol|"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message of ticks, and when it came (seconds since the epoch)."""

    offset: int
    key: bytes
    value: bytes
    headers: Any
    at: float


@dataclass
class _Symbol:
    """A symbol: its windows, what waits for an outcome, the offset up to which all was predicted."""

    feed: SymbolFeed
    pending: Pending
    done: int = -1


@dataclass
class _Group:
    """What follows from some messages: closed bars with their arrivals, and symbols whose labels may be known now."""

    samples: list[tuple[Sample, float]] = field(default_factory=list)
    moved: dict[str, None] = field(default_factory=dict)


class DeploymentPartition:
    """The owner of one partition; made when it is assigned, which takes over from whoever owned it.

    Parameters
    ----------
    computing
        Held while features and models compute: the process's partitions compute one after the other (their threads
        share an interpreter), but write at once. None: a lock of its own.

    Raises
    ------
    FaultError
        If Kafka does not answer, or another worker has taken over: the process must end.
    """

    def __init__(
        self,
        config: DeploymentConfig,
        models: Sequence[Model],
        partition: int,
        computing: threading.Lock | None = None,
    ) -> None:
        self._config, self._models = config, models
        self._computing = computing or threading.Lock()
        self._scored = [model for model in models if model.label is not None]
        self._ticks = any(model.reads.ticks for model in models)
        self._intervals = sorted({config.interval}.union(*(model.reads.intervals for model in models)))
        self._source = Source(config.bootstrap, config.team, config.stream, partition)
        self._partition = partition
        self._symbols: dict[str, _Symbol] = {}
        self._drift = {model.name: DriftTally(model.reference) for model in models if model.reference}
        self._health = HealthTally(config.name, partition)
        self._touched: dict[str, None] = {}
        self._saved_at = time.monotonic()
        self._transaction = TransactionalPartition(
            config.bootstrap, config.app_id, config.ticks_topic, partition, config.state_topic
        )
        self.position = self._open()
        self._score(self._symbols)  # a predecessor may have ended between predictions and the scores they made due
        self.catch_up()

    def _open(self) -> int:
        """Fill the windows up to where the deployment was, or for a new one to where the stream is; return that."""
        own: dict[str, SymbolState] = {}
        position: int | None = None
        for key, value in self._transaction.read_state():
            if key == POSITION:
                position = int(value)
            elif key.startswith(SYMBOL.encode()):
                own[key.decode().removeprefix(SYMBOL)] = msgspec.json.decode(value, type=SymbolState)
        serves = self._config.serves
        recorded = read_recorded(self._source, own, position, self._config.interval, self._intervals, serves)
        new = position is None
        if position is None:
            position = self._source.end() - 1
        for (symbol, interval), begin in recorded.begins.items():
            self._of(symbol).feed.restore(interval, begin)
        start = min(recorded.start, position + 1)
        if self._ticks:
            start = min(start, self._source.back_for_ticks(position + 1))
        for message in self._source.messages(start, position + 1):
            self._feed(_arrival(message), None)
        for symbol, state in own.items():
            if self._config.serves(symbol):
                self._of(symbol).done = state.applied
                self._of(symbol).feed.gaps = sorted({*state.gaps, *self._of(symbol).feed.gaps})
        if new:  # what symbols there are, and where the stream was, is recorded before anything is predicted
            self.position = position
            self._touched = dict.fromkeys(self._symbols)
            self.save()
        self._resume_pending()
        log.info(
            "partition %d begins at offset %d: %d symbols, windows from offset %d and recorded bars",
            self._partition, position + 1, len(self._symbols), start,
        )  # fmt: skip
        return position

    def _resume_pending(self) -> None:
        made: dict[tuple[str, str, int], tuple[bool, Prediction]] = {}
        for shadow, topic in enumerate(self._config.predictions_topics):
            for value in read_partition(self._config.bootstrap, topic, self._partition):
                prediction = msgspec.json.decode(value, type=Prediction)
                key = prediction.model, prediction.symbol, prediction.ordinal
                made.setdefault(key, (bool(shadow), prediction))
                self._health.last = max(self._health.last or "", prediction.published_at)
        for topic in self._config.scores_topics:
            for value in read_partition(self._config.bootstrap, topic, self._partition):
                score = msgspec.json.decode(value, type=Score)
                made.pop((score.model, score.symbol, score.ordinal), None)
        for hidden, prediction in sorted(made.values(), key=lambda one: one[1].ordinal):
            if self._config.serves(prediction.symbol):
                self._of(prediction.symbol).pending.add(prediction, hidden)

    def _of(self, symbol: str) -> _Symbol:
        if symbol not in self._symbols:
            feed = SymbolFeed(symbol, self._config.interval, self._intervals, self._ticks)
            self._symbols[symbol] = _Symbol(feed, Pending(self._scored))
        return self._symbols[symbol]

    def catch_up(self) -> None:
        """Take what the stream has beyond the position: it came while nobody listened."""
        self._health.end = self._source.end()
        self._read_until(self._health.end)

    def _read_until(self, stop: int) -> None:
        group: list[Arrival] = []
        for message in self._source.messages(self.position + 1, stop):
            group.append(_arrival(message))
            if len(group) == GROUP_MESSAGES:
                self._apply(group)
                group = []
        self._apply(group)

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Apply messages in order and publish what follows from them."""
        fresh = [arrival for arrival in arrivals if arrival.offset > self.position]
        if fresh and fresh[0].offset > self.position + 1:  # delivery began later than we ended
            self._read_until(fresh[0].offset)
        for first in range(0, len(fresh), GROUP_MESSAGES):
            self._apply(fresh[first : first + GROUP_MESSAGES])

    def _apply(self, arrivals: Sequence[Arrival]) -> None:
        group = _Group()
        with self._computing:
            for arrival in arrivals:
                self._feed(arrival, group)
            predictions = list(self._predictions(group))
        if arrivals:
            self.position = arrivals[-1].offset
            self._health.arrived(self.position)
        self._publish(predictions)
        _tell(predictions)
        self._score(group.moved)
        if self.save_due and (not predictions or self._saved_before(2 * CHECKPOINT_SECONDS)):
            self.save()  # if possible not while bars close: those that follow would wait for it

    def _score(self, symbols: Iterable[str]) -> None:
        """Publish scores of those predictions of symbols whose label is known by now."""
        if not self._scored:
            return
        with self._computing:
            scores = [
                scored for symbol in symbols for scored in self._of(symbol).pending.scores(self._of(symbol).feed.window)
            ]
        self._publish(scores)

    def _feed(self, arrival: Arrival, group: _Group | None) -> None:
        """Take a message into its symbol's windows; with a group, what follows from it is asked for."""
        symbol = arrival.key.decode(errors="replace")
        if not self._config.serves(symbol):
            return
        try:
            item = decode(arrival.key, arrival.value, arrival.headers)
        except PoisonError as error:  # the bars processor has put it into the dead letters
            log.error("offset %d is skipped: %s", arrival.offset, error)
            return
        if item.origin:
            return
        if group is not None and isinstance(item, Watermark) and item.gap:
            missed = "an unknown number of" if item.gap.missed is None else item.gap.missed
            log.warning(
                "%s: %s ticks are missing in the feed (%s): windows reach over it", symbol, missed, item.gap.reason
            )
        state = self._of(symbol)
        closed, any_closed = state.feed.take(arrival.offset, item)
        self._touched[symbol] = None
        if group is None:
            return
        if any_closed or self._ticks:
            group.moved[symbol] = None
        if arrival.offset <= state.done:
            return
        for bar in closed.records(symbol, self._config.interval):
            group.samples.append((Sample(state.feed, bar), arrival.at))

    def _predictions(self, group: _Group) -> Iterator[tuple[bool, Prediction]]:
        arrived = {(sample.bar.symbol, sample.bar.ordinal): at for sample, at in group.samples}
        samples = [sample for sample, _ in group.samples]
        for model in self._models if samples else ():
            made = predict(model, self._config.name, self._config.interval, samples)
            self._health.passed_over(model.name, len(samples) - len(made))
            now = time.time()
            published = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
            for prediction, inputs in made:
                latency = round(max(0.0, now - arrived[prediction.symbol, prediction.ordinal]) * 1000, 3)
                stamped = msgspec.structs.replace(prediction, published_at=published, latency_ms=latency)
                if model.label is not None:
                    self._of(prediction.symbol).pending.add(stamped, model.shadow)
                if model.name in self._drift:
                    self._drift[model.name].add(inputs)
                self._health.predicted(model.name, latency, published)
                yield model.shadow, stamped

    def _publish(self, outputs: Sequence[tuple[bool, Prediction | Score]]) -> None:
        """Write outputs and the states of their symbols in one transaction."""
        if not outputs:
            return
        self._transaction.begin()
        for shadow, output in outputs:
            kinds = self._config.scores_topics if isinstance(output, Score) else self._config.predictions_topics
            self._transaction.send(kinds[int(shadow)], output.symbol.encode(), encode_json(output))
        self._send_states({output.symbol for _, output in outputs})
        self._transaction.commit()

    @property
    def save_due(self) -> bool:
        """Whether progress was not recorded for a while."""
        return self._saved_before(CHECKPOINT_SECONDS)

    def _saved_before(self, seconds: float) -> bool:
        return time.monotonic() - self._saved_at >= seconds

    def save(self) -> None:
        """Record progress and health."""
        self._health.end = max(self._health.end, self._source.end())  # also of what waits in Kafka
        self._health.drift = {name: tally.values() for name, tally in self._drift.items()}
        self._transaction.begin()
        self._send_states(list(self._touched))
        self._transaction.send_state(POSITION, str(self.position).encode())
        self._transaction.send_state(HEALTH, encode_json(self._health.record(self.position)))
        self._transaction.commit()
        self._saved_at = time.monotonic()

    def _send_states(self, symbols: Iterable[str]) -> None:
        for symbol in symbols:
            one = self._of(symbol)
            state = one.feed.state
            if state.applied >= one.done:  # after a restart windows may be behind what a predecessor predicted
                self._transaction.send_state((SYMBOL + symbol).encode(), encode_json(state))
            self._touched.pop(symbol, None)


def _tell(predictions: Sequence[tuple[bool, Prediction]]) -> None:
    """Write what was predicted to the log: each, or of many at once how many."""
    for shadow, one in predictions if len(predictions) <= TOLD else ():
        said = ", ".join(f"{value:.4g}" for value in one.prediction)
        kind = "shadow " if shadow else ""
        log.info("%s%s: %s %s → %s (%.0f ms)", kind, one.model, one.symbol, one.bar_start, said, one.latency_ms)
    if len(predictions) > TOLD:
        log.info("%d predictions at once, the last of %s", len(predictions), predictions[-1][1].bar_start)


def _arrival(message: Any) -> Arrival:
    return Arrival(message.offset(), message.key() or b"", message.value() or b"", message.headers(), time.time())
