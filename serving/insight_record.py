"""What is on record of a prediction: itself, and the bars it was made of; read from Kafka, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from confluent_kafka import Message, TopicPartition

from lit.features.intervals import Interval
from lit.processors.delivery import read_messages
from lit.serving.config import DeploymentConfig
from lit.streams import topics
from lit.streams.clients import bounds, consumer, partitions_of
from lit.streams.errors import UserError
from lit.streams.records import Bar, Prediction, decode_bars
from lit.streams.tick import from_iso

#: Messages that are read at once when going back.
_CHUNK = 2000
#: A bar may be published this long after the prediction that was made at it, by another process.
_LATER_MS = 600_000


@dataclass(frozen=True)
class Found:
    """A prediction and the partition that it, its symbol's bars and ticks are in."""

    prediction: Prediction
    partition: int


class MissingPredictionError(UserError):
    """There is no such prediction."""


def last_prediction(
    config: DeploymentConfig, symbol: str | None = None, model: str | None = None, hidden: bool = True
) -> Found:
    """Return what a deployment predicted last, of a symbol and by a model if they are named.

    What shadow models predict is `hidden`: it is found where it may be and one is named.

    Raises
    ------
    MissingPredictionError
        If it has predicted nothing.
    """
    latest: Found | None = None
    for topic in _topics(config, model, hidden):
        for partition in partitions_of(config.bootstrap, topic):
            for message in _back(config.bootstrap, topic, partition):
                one = msgspec.json.decode(message.value() or b"", type=Prediction)
                if symbol in (None, one.symbol) and model in (None, one.model):
                    if latest is None or one.published_at > latest.prediction.published_at:
                        latest = Found(one, partition)
                    break
    if latest is None:
        raise MissingPredictionError(f"deployment {config.name!r} has predicted nothing{_whose(symbol, model)} yet")
    return latest


def find_prediction(
    config: DeploymentConfig, index: int, symbol: str | None = None, model: str | None = None, hidden: bool = True
) -> Found:
    """Return the prediction that a deployment made at a tick.

    Parameters
    ----------
    config
        The deployment.
    index
        The tick, as predictions have it.
    symbol, model
        Of which symbol and model; None: there must be one only.
    hidden
        Whether what shadow models predicted may be found; one must be named.

    Raises
    ------
    MissingPredictionError
        If there is none.
    UserError
        If there are several: which.
    """
    found: dict[tuple[str, str], Found] = {}
    for topic in _topics(config, model, hidden):
        for partition in partitions_of(config.bootstrap, topic):
            for message in _back(config.bootstrap, topic, partition):
                one = msgspec.json.decode(message.value() or b"", type=Prediction)
                if (symbol or one.symbol) != one.symbol or (model or one.model) != one.model:
                    continue
                if one.index == index:
                    found[one.model, one.symbol] = Found(one, partition)  # going back, the first record wins
                elif symbol and model and one.index < index:
                    break
    if not found:
        whose = _whose(symbol, model)
        raise MissingPredictionError(f"deployment {config.name!r} has no prediction at index {index}{whose}")
    if len(found) > 1:
        names = ", ".join(f"{one} of {its}" for one, its in sorted(found))
        raise UserError(f"deployment {config.name!r} has several predictions at index {index}: choose of {names}")
    return next(iter(found.values()))


def _topics(config: DeploymentConfig, model: str | None, hidden: bool) -> tuple[str, ...]:
    seen, unseen = config.predictions_topics
    return (seen, unseen) if hidden and model is not None else (seen,)


def _whose(symbol: str | None, model: str | None) -> str:
    return (f" of {symbol}" if symbol else "") + (f" by {model!r}" if model else "")


def recorded_bars(
    config: DeploymentConfig, found: Found, intervals: Sequence[str], wanted: int
) -> tuple[dict[str, list[Bar]], bool]:
    """Return the symbol's last bars at a prediction by interval, without those whose record does not reach it.

    Parameters
    ----------
    wanted
        How many of each interval, at the least, as far as there are.

    Returns
    -------
    dict, bool
        And whether more are on record.
    """
    prediction = found.prediction
    bars: dict[str, list[Bar]] = {}
    more = False
    for text in intervals:
        topic = topics.bars(config.team, config.stream, str(Interval.parse(text))).name
        if not partitions_of(config.bootstrap, topic):
            continue
        kept: dict[int, Bar] = {}
        until = from_iso(prediction.published_at) // 1_000_000 + _LATER_MS
        for message in _back(config.bootstrap, topic, found.partition, until):
            for bar in decode_bars(message.value() or b""):
                if bar.symbol == prediction.symbol and bar.first_index <= prediction.index:
                    kept[bar.ordinal] = bar
            if len(kept) >= wanted:
                break
        if kept and max(bar.last_index for bar in kept.values()) >= prediction.index:
            bars[text] = [kept[ordinal] for ordinal in sorted(kept)]
            more |= len(kept) >= wanted and bars[text][0].ordinal > 0
    return bars, more


def _back(bootstrap: str, topic: str, partition: int, until_ms: int | None = None) -> Iterator[Message]:
    """Yield a partition's messages, the newest first; those after a time are left out."""
    reader = consumer(bootstrap, "lit-insight")
    try:
        low, stop = bounds(reader, topic, partition)
        if until_ms is not None:
            (at,) = reader.offsets_for_times([TopicPartition(topic, partition, until_ms)], timeout=10.0)
            stop = at.offset if at.offset >= 0 else stop
        while stop > low:
            first = max(low, stop - _CHUNK)
            chunk = []
            for message in read_messages(bootstrap, topic, partition, first):
                if (message.offset() or 0) >= stop:
                    break
                chunk.append(message)
            yield from reversed(chunk)
            stop = first
    finally:
        reader.close()
