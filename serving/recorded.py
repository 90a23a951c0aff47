"""What a stream and a deployment have recorded of a partition: where a deployment can begin, with full windows.

The bars processor keeps its builders' states beside the bars that they closed, in one transaction; a deployment too.
Either is a state of the same kernel at an input offset, so a window filled with those bars goes on from it as if
it had seen every tick. Where nothing is recorded (an interval that nobody publishes), ticks are read from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import msgspec
import numpy as np
from confluent_kafka import Consumer, KafkaException, Message

from lit.features.bars import NO_BARS, Bars, BarState
from lit.features.intervals import Interval
from lit.features.window import KEPT_BARS, KEPT_TICKS
from lit.processors.bar_partition import AppliedState
from lit.processors.delivery import read_messages
from lit.streams import topics
from lit.streams.clients import bounds, consumer
from lit.streams.dedup import Dedup
from lit.streams.errors import FaultError
from lit.streams.records import Bar, decode_bars
from lit.streams.tick import from_iso

#: Messages that are looked at first when going back for ticks; then twice as many, and so on.
_BACK = 2048


def columns_of(records: Sequence[Bar]) -> Bars:
    """Turn records back into columns."""
    return Bars(
        np.array(
            [
                (b.open, b.high, b.low, b.close, b.trades, b.volume, b.mean_trade_size, b.max_trade_size)
                for b in records
            ],
            np.float64,
        ).reshape(-1, 8),
        np.array([from_iso(b.start) for b in records], np.int64),
        np.array([from_iso(b.end) for b in records], np.int64),
        np.array([b.first_index for b in records], np.int64),
        np.array([b.last_index for b in records], np.int64),
        np.array([b.ordinal for b in records], np.int64),
    )


class SymbolState(msgspec.Struct):
    """A deployment's own record of a symbol: its builders at an input offset, by interval; first ticks after gaps."""

    applied: int
    bars: dict[str, BarState]
    gaps: list[int] = []


@dataclass(frozen=True)
class Begin:
    """Where a symbol's window of one interval begins.

    Parameters
    ----------
    bars, state, applied
        Its bars, the builder's state, the offset that both include.
    gaps
        First ticks after holes of the feed before.
    """

    bars: Bars
    state: BarState
    applied: int
    gaps: Sequence[int] = ()


@dataclass
class Recorded:
    """The beginnings of a partition's windows.

    Parameters
    ----------
    start
        First input offset that must be read.
    begins
        (symbol, interval) → its beginning; what is not there begins with nothing.
    """

    start: int = 0
    begins: dict[tuple[str, Interval], Begin] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A partition of a stream."""

    bootstrap: str
    team: str
    stream: str
    partition: int

    @property
    def ticks_topic(self) -> str:
        """The partition's ticks."""
        return topics.ticks(self.team, self.stream).name

    @cached_property
    def _reader(self) -> Consumer:
        return consumer(self.bootstrap, "lit-look")

    def end(self) -> int:
        """Return the offset that the next message will have.

        Raises
        ------
        FaultError
            If the broker gives no answer.
        """
        try:
            return bounds(self._reader, self.ticks_topic, self.partition)[1]
        except KafkaException as error:
            raise FaultError(f"{self.ticks_topic} could not be read: {error.args[0].str()}") from error

    def existing(self, names: Iterable[str]) -> set[str]:
        """Return those topics that are there."""
        known = self._reader.list_topics(timeout=10.0).topics
        return {name for name in names if name in known}

    def builders(self) -> dict[tuple[str, str], AppliedState]:
        """Return the newest states of the bars processor: (symbol, interval) → state."""
        topic = topics.state(self.team, "bars", self.stream).name
        found: dict[tuple[str, str], AppliedState] = {}
        if self.existing([topic]):
            for message in read_messages(self.bootstrap, topic, self.partition):
                symbol, _, interval = bytes(message.key() or b"").decode().rpartition("|")
                if message.value() is not None:
                    found[symbol, interval] = msgspec.json.decode(message.value() or b"", type=AppliedState)
        return found

    def bars(self, interval: Interval, since: Mapping[str, int]) -> dict[str, list[Bar]]:
        """Return the recorded bars by symbol: as many as windows keep, and all of ticks from `since` (by symbol) on.

        A deployment that was stopped for long predicts at old bars first, with the windows that were theirs.
        """
        topic, dedup = topics.bars(self.team, self.stream, str(interval)).name, Dedup()
        found: dict[str, list[Bar]] = {}
        if self.existing([topic]):
            # a bar and the state that counts it are one transaction, which may be seen in the states' topic first
            for message in read_messages(self.bootstrap, topic, self.partition, settled=True):
                for bar in dedup.fresh(decode_bars(message.value() or b"")):
                    kept = found.setdefault(bar.symbol, [])
                    kept.append(bar)
                    if len(kept) >= 2 * KEPT_BARS and bar.last_index < since.get(bar.symbol, bar.last_index + 1):
                        del kept[:KEPT_BARS]
        return found

    def messages(self, first: int, stop: int) -> Iterator[Message]:
        """Yield the ticks' messages of offsets `first`…`stop` - 1."""
        if first < stop:
            for message in read_messages(self.bootstrap, self.ticks_topic, self.partition, first):
                if int(message.offset() or 0) >= stop:
                    return
                yield message

    def back_for_ticks(self, before: int, count: int = KEPT_TICKS) -> int:
        """Return an offset from which on each symbol has `count` ticks before offset `before`, or all that it has."""
        step = _BACK
        while (first := max(0, before - step)) > 0:
            lowest: dict[bytes, int] = {}
            highest: dict[bytes, int] = {}
            for message in self.messages(first, before):
                headers = dict(message.headers() or ())
                key, index = bytes(message.key() or b""), int(headers.get("first-index", b"0"))
                lowest.setdefault(key, index)
                highest[key] = index + int(headers.get("count", b"0"))
            if all(index == 0 or highest[key] - index >= count for key, index in lowest.items()):
                return first
            step *= 2
        return 0


def read_recorded(
    source: Source,
    own: dict[str, SymbolState],
    position: int | None,
    interval: Interval,
    intervals: Iterable[Interval],
    serves: Callable[[str], bool] = lambda _symbol: True,
) -> Recorded:
    """Return where windows begin.

    Parameters
    ----------
    own, position
        The deployment's states, and the input offset that all of them include; None for a new deployment.
    interval
        The one at whose bars it predicts: a symbol's window must begin no later than the offset that it was predicted
        up to.
    intervals
        All that are read.
    serves
        Whether a symbol is wanted.
    """
    builders = source.builders()  # before the bars: those are then at least as many
    found, starts = Recorded(), []
    for one in intervals:
        theirs = {symbol: state for (symbol, name), state in builders.items() if name == str(one)}
        complete = max((state.complete for state in theirs.values()), default=-1)
        begins = {
            symbol: Begin(NO_BARS, state.state, max(state.applied, complete), state.gaps)
            for symbol, state in theirs.items()
            if serves(symbol)
        }
        starts.append(complete + 1)
        if one == interval and position is not None:
            # Symbol by symbol: the deployment may be ahead of the bars, which then lack what its own state counts.
            for symbol in list(begins):
                mine = own.get(symbol)
                predicted = max(position, mine.applied if mine else -1)
                if theirs[symbol].applied <= predicted:
                    continue
                if mine is None or str(one) not in mine.bars:  # a new symbol, or one that was not served
                    del begins[symbol]
                    starts.append(0)
                else:
                    begins[symbol] = Begin(NO_BARS, mine.bars[str(one)], predicted)
                    starts.append(position + 1)
        since = {symbol: state.bars[str(one)].next_index for symbol, state in own.items() if str(one) in state.bars}
        bars = source.bars(one, since) if begins else {}
        for symbol, begin in begins.items():
            closed = [bar for bar in bars.get(symbol, []) if bar.ordinal < begin.state.ordinal]
            found.begins[symbol, one] = replace(begin, bars=columns_of(closed)) if closed else begin
    found.start = min(starts, default=0)
    return found
