"""The ticks that a prediction was made of, read from Kafka from shortly before it on.

Where to begin is guessed by time and by the number of messages, and checked by the ticks' own numbers: a bad guess
costs messages that are read, never a tick.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
from confluent_kafka import TopicPartition

from lit.processors.delivery import read_messages
from lit.serving.config import DeploymentConfig
from lit.serving.insight_record import Found
from lit.serving.insight_window import Recorded, write_message
from lit.streams.clients import bounds, consumer, partitions_of
from lit.streams.codec import PoisonError, decode
from lit.streams.errors import UserError
from lit.streams.tick import TickBlock, from_iso

#: Ticks of one symbol that a window is made of again.
MAX_TICKS = 30_000_000
#: Messages before the prediction's bar that are looked at first.
_BACK = 64


def recorded_ticks(
    config: DeploymentConfig, found: Found, bars: Recorded, lacking: Sequence[str], count: int | None, file: Path
) -> Recorded:
    """Write the symbol's ticks up to a prediction, and the message after it, to a file.

    Parameters
    ----------
    bars
        What is on record of bars.
    lacking
        Intervals of which no bars are: they are made of the ticks.
    count
        How many ticks before the prediction, at the least; None: all.
    file
        Where to.

    Returns
    -------
    Recorded
        Bars and ticks; all bars are made of the ticks where these reach back to the first.

    Raises
    ------
    UserError
        If the ticks are not recorded, or too many.
    """
    symbol, index = found.prediction.symbol, found.prediction.index
    if not partitions_of(config.bootstrap, config.ticks_topic):
        raise UserError(f"stream {config.stream!r} has no recorded ticks: inputs can't be computed again")
    begin = 0 if count is None else max(0, index - count)
    low, near = _near(config, found)
    back = _BACK
    while True:
        first = max(low, near - back) if begin else low
        reached = _write(config, found, begin, first, first > low, file)
        if reached is not None:
            break
        back *= 4
    oldest, start, stop = reached
    if stop <= index:
        raise UserError(f"the ticks of {symbol} up to index {index} are no longer recorded: its topic ends at {stop}")
    if start == 0:
        return Recorded(symbol, ticks=str(file), intervals=[*bars.bars, *lacking])
    more = bars.more or first > low or oldest < start
    return msgspec.structs.replace(bars, ticks=str(file), begin=start, intervals=list(lacking), more=more)


def _near(config: DeploymentConfig, found: Found) -> tuple[int, int]:
    """Return the partition's first offset and one near the first tick of the prediction's bar.

    Senders stamp messages of ticks with the market's time.
    """
    topic, partition = config.ticks_topic, found.partition
    reader = consumer(config.bootstrap, "lit-insight")
    try:
        low, stop = bounds(reader, topic, partition)
        stamp = max(0, from_iso(found.prediction.bar_start) // 1_000_000)
        (at,) = reader.offsets_for_times([TopicPartition(topic, partition, stamp)], timeout=10.0)
        return low, at.offset if at.offset >= 0 else stop
    finally:
        reader.close()


def _write(
    config: DeploymentConfig, found: Found, begin: int, first: int, earlier: bool, file: Path
) -> tuple[int, int, int] | None:
    """Write ticks `begin`… to a file; returns the first that was met, the first written, and the one behind the last.

    Parameters
    ----------
    first
        Offset to read from.
    earlier
        Whether there are messages before it: None is returned where these are needed.
    """
    symbol, index = found.prediction.symbol, found.prediction.index
    oldest = start = -1
    reached = 0
    with file.open("wb") as out:
        for message in read_messages(config.bootstrap, config.ticks_topic, found.partition, first):
            key, value, headers = bytes(message.key() or b""), message.value() or b"", message.headers() or []
            if key != symbol.encode():
                continue
            try:
                item = decode(key, value, headers)
            except PoisonError:
                continue
            at = item.first_index if isinstance(item, TickBlock) else item.next_index
            if earlier and at > (begin if oldest < 0 else reached):
                return None
            oldest = at if oldest < 0 else oldest
            before, reached = reached, max(reached, item.next_index)
            if begin and reached <= begin:
                continue
            start = at if start < 0 else start
            write_message(out, key, value, [(name, bytes(data or b"")) for name, data in headers])
            if before > index and (not isinstance(item, TickBlock) or item.next_index > before):
                return oldest, start, reached
            if reached - start > MAX_TICKS:
                raise UserError(
                    f"{symbol} has more than {MAX_TICKS:,} ticks to read before index {index}, and the bars that the "
                    "model reads are not published: deploy on their interval, so that they are"
                )
    return None if earlier and oldest < 0 else (oldest, start, reached)
