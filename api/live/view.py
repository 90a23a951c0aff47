"""What the server knows of a stream: histories, open bars, how predictions do; and the channels that watch it.

Belongs to the event loop. A batch is applied whole before anything else is looked at.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Any, TypeVar

from lit.api.live.channel import Channel
from lit.api.live.forming import Forming, Key
from lit.api.live.reader import Batch, Computed, Kind
from lit.serving.score_summary import ScoreBook, Summary
from lit.streams.live_health import GapView
from lit.streams.records import Bar, Prediction, Score

#: Bars, predictions and scores kept of each symbol; older ones are in the topics.
KEPT = 20_000
SHOWN = 500
#: Gaps kept of each symbol.
GAPS = 300
#: Predictions and scores in a snapshot, at the most: of several models, or of bars shorter than those shown.
SAID = 5000
#: A channel without clients is forgotten after this time; who comes back later gets a snapshot.
IDLE_SECONDS = 300.0

Said = TypeVar("Said", Prediction, Score)
#: (interval, symbol, deployment)
ChannelKey = tuple[str, str, str | None]


class StreamView:
    """State of one stream."""

    def __init__(self) -> None:
        self.bars: dict[Key, deque[Bar]] = {}
        self.predictions: dict[Key, deque[Prediction]] = {}
        self.scores: dict[Key, deque[Score]] = {}
        self.books: dict[str, ScoreBook] = {}
        self.gaps: dict[str, deque[GapView]] = {}
        self.symbols: frozenset[str] = frozenset()
        self.lag = 0
        self.ended = asyncio.Event()  # nothing more comes: clients shall come again
        self._forming: dict[Key, Forming] = {}
        self._channels: dict[ChannelKey, Channel] = {}
        self._ready: dict[Kind, asyncio.Event] = {}

    def ready(self, kind: Kind) -> asyncio.Event:
        """Return the event that is set once a kind was read to its end."""
        return self._ready.setdefault(kind, asyncio.Event())

    def apply(self, batch: Batch) -> None:
        """Take what the reader read."""
        for series in batch.begun:
            self._begin(series)
        for bar in batch.bars:
            self._bar(bar)
        for key, forming in batch.forming.items():
            self._form(key, forming)
        for prediction in batch.predictions:
            self._prediction(prediction)
        for score in batch.scores:
            self._score(score)
        for gap in batch.gaps:
            self._gap(gap)
        for kind in batch.ready:
            self.ready(kind).set()
        if batch.lag is not None:
            self.lag = batch.lag

    def channel(self, key: ChannelKey) -> Channel:
        """Return the channel of that key, made if there is none."""
        self.forget_idle()
        return self._channels.setdefault(key, Channel(secrets.token_hex(6)))

    def forget_idle(self) -> None:
        """Drop the channels that nobody came back to."""
        now = time.monotonic()
        for key, channel in list(self._channels.items()):
            if not channel.clients and now - channel.idle_since > IDLE_SECONDS:
                del self._channels[key]

    def snapshot(self, key: ChannelKey) -> dict[str, Any]:
        """Return the whole picture of a channel as of now: the newest bars, and what all models said of them."""
        interval, symbol, deployment = key
        name = deployment or ""
        bars = newest(self.bars.get((interval, symbol)), SHOWN)
        first = bars[0].first_index if bars else 0
        return {
            "bars": bars,
            "forming": self.forming((interval, symbol)),
            "predictions": since(self.predictions.get((name, symbol)), first),
            "scores": since(self.scores.get((name, symbol)), first),
            "summaries": self._summaries(name, symbol),
            "gaps": list(self.gaps.get(symbol, ())),
        }

    def forming(self, key: Key) -> Forming | None:
        """Return the open bar if it follows the last closed one (a closed one may still be on its way)."""
        found, closed = self._forming.get(key), self.bars.get(key)
        following = closed[-1].ordinal + 1 if closed else 0
        return found if found is not None and found.ordinal == following else None

    def watched(self, key: Key) -> bool:
        """Tell whether anybody watches a symbol's bars of an interval, or may come back to them."""
        return bool(self._watching(*key))

    def forget(self, key: Key) -> None:
        """Drop a computed series."""
        self.bars.pop(key, None)
        self._forming.pop(key, None)
        self._ready.pop(("computed", *key), None)

    def _begin(self, series: Computed) -> None:
        self.bars[series.key] = deque(series.bars, maxlen=KEPT)
        self.symbols |= {series.key[1]}

    def _bar(self, bar: Bar) -> None:
        key = bar.interval, bar.symbol
        kept = self.bars.setdefault(key, deque(maxlen=KEPT))
        if kept and bar.ordinal <= kept[-1].ordinal:
            return  # of a computed series that a worker publishes by now
        kept.append(bar)
        if bar.symbol not in self.symbols:
            self.symbols |= {bar.symbol}
        for channel in self._watching(*key):
            channel.publish("bar", bar=bar)
        self._show(key)

    def _form(self, key: Key, forming: Forming | None) -> None:
        if key[1] not in self.symbols:
            self.symbols |= {key[1]}
        if forming is None:
            self._forming.pop(key, None)
        else:
            self._forming[key] = forming
            self._show(key)

    def _show(self, key: Key) -> None:
        if (forming := self.forming(key)) is not None:
            for channel in self._watching(*key):
                channel.forming(forming)

    def _prediction(self, prediction: Prediction) -> None:
        key = prediction.deployment, prediction.symbol
        self.predictions.setdefault(key, deque(maxlen=KEPT)).append(prediction)
        self.books.setdefault(prediction.deployment, ScoreBook()).predicted(prediction)
        for channel in self._watching(None, prediction.symbol, prediction.deployment):
            channel.publish("prediction", prediction=prediction)

    def _score(self, score: Score) -> None:
        self.scores.setdefault((score.deployment, score.symbol), deque(maxlen=KEPT)).append(score)
        book = self.books.setdefault(score.deployment, ScoreBook())
        book.scored(score)
        for channel in self._watching(None, score.symbol, score.deployment):
            channel.publish("score", score=score, summary=book.summary(score.model, score.symbol))

    def _gap(self, gap: GapView) -> None:
        kept = self.gaps.setdefault(gap.symbol, deque(maxlen=GAPS))
        if gap in kept:
            return  # ticks are read again, and gaps are told as events too
        kept.append(gap)
        for channel in self._watching(None, gap.symbol):
            channel.publish("gap", gap=gap)

    def _watching(self, interval: str | None, symbol: str, deployment: str | None = None) -> list[Channel]:
        return [
            channel
            for (i, s, d), channel in self._channels.items()
            if s == symbol and interval in (None, i) and deployment in (None, d)
        ]

    def _summaries(self, deployment: str, symbol: str) -> list[Summary]:
        book = self.books.get(deployment)
        return [summary for summary in book.summaries() if summary.symbol == symbol] if book else []


def newest(items: deque[Any] | None, count: int) -> list[Any]:
    """Return the last `count` items, oldest first."""
    return list(items)[-count:] if items else []


def since(items: deque[Said] | None, index: int) -> list[Said]:
    """Return what was said at ticks from `index` on, the newest; bars of other intervals hold these ticks too."""
    return [item for item in items or () if item.index >= index][-SAID:]
