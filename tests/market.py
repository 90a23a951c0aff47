"""A small market of uneven symbols for tests of faults, and what an undisturbed pass over it gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.features.bars import BarBuilder, Bars
from lit.features.dataset import DatasetAdapter
from lit.features.intervals import Interval
from lit.features.library import load_features, save_feature
from lit.processors.delivery import read_messages
from lit.serving.predictions import inputs_digest
from lit.streams.clients import partitions_of, producer
from lit.streams.codec import encode
from lit.streams.records import Bar, Prediction, Score, decode_bars
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark, from_iso, tick_block
from lit.streams.workspace import Workspace
from tests.deployment_worker import Share
from tests.tape import SECOND, real_ticks

MINUTE = Interval.parse("1minute")
#: When the day's trading begins.
OPENING = from_iso("2013-10-07T13:30:00.000Z")
Item = TickBlock | Watermark
#: (symbol, ordinal) → what a record says that must not depend on faults.
Said = dict[tuple[str, int], Any]


@dataclass(frozen=True)
class Market:
    """Symbols with fast, slow and rare messages, over the first minutes of a day.

    Parameters
    ----------
    folder
        Data root; the features `bars` and `up` are saved there.
    """

    folder: Path
    minutes: int = 70

    def __post_init__(self) -> None:
        workspace = Workspace(self.folder, "demo")
        save_feature(workspace, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
        save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})

    @cached_property
    def tapes(self) -> dict[str, TickBlock]:
        """Symbol → its ticks."""
        found = {}
        for symbol, sample, step in (("FAST", "BAC.N", 1), ("SLOW", "IBM.N", 1), ("RARE", "IBM.N", 15)):
            tape = real_ticks(sample, 1)
            first, stop = np.searchsorted(tape.timestamp, [OPENING, OPENING + self.minutes * 60 * SECOND])
            columns = (tape.batch.column(name).to_numpy() for name in ("timestamp", "Price", "Volume"))
            found[symbol] = tick_block(symbol, 0, *(column[first:stop:step] for column in columns))
        return found

    @cached_property
    def items(self) -> list[Item]:
        """All messages in the order of time, with the end of each symbol."""
        found: list[tuple[int, Item]] = []
        for tape, size in zip(self.tapes.values(), (90, 40, 4), strict=True):
            cut = [tape.slice(at, min(at + size, len(tape))) for at in range(0, len(tape), size)]
            found += [(int(block.timestamp[-1]), block) for block in cut]
        ends: list[Item] = [Watermark(symbol, END_OF_TIME, len(tape)) for symbol, tape in self.tapes.items()]
        return [item for _, item in sorted(found, key=lambda one: one[0])] + ends

    @cached_property
    def bars(self) -> dict[str, list[Bar]]:
        """Symbol → its bars, by one pass of the kernel."""
        found = {}
        for symbol, tape in self.tapes.items():
            builder = BarBuilder(MINUTE)
            bars = Bars.concat([builder.update(tape), builder.advance(END_OF_TIME)])
            found[symbol] = list(bars.records(symbol, MINUTE))
        return found

    @cached_property
    def expected(self) -> tuple[Said, Said]:
        """What predictions and scores must say: digest and output, and the outcome."""
        inputs, label = load_features(Workspace(self.folder, "demo"), ["bars", "up"])
        predictions: Said = {}
        scores: Said = {}
        for symbol, tape in self.tapes.items():
            adapter = DatasetAdapter.of_blocks([tape])
            for bar in self.bars[symbol]:
                value, outcome = (feature.compute(adapter, bar.last_index, {}) for feature in (inputs, label))
                if value is None:
                    continue
                value = value.astype("float32")
                output = Share().predict_many({"bars": value[None]}).ravel().tolist()
                predictions[symbol, bar.ordinal] = (inputs_digest({"bars": value}), output)
                if outcome is not None:
                    scores[symbol, bar.ordinal] = np.ravel(outcome).tolist()
        return predictions, scores

    def closed_after(self, offset: int) -> set[tuple[str, int]]:
        """Bars that messages behind an offset close, if all messages are in one partition."""
        builders = {symbol: BarBuilder(MINUTE) for symbol in self.tapes}
        found = set()
        for at, item in enumerate(self.items):
            builder = builders[item.symbol]
            closed = builder.advance(item.timestamp) if isinstance(item, Watermark) else builder.update(item)
            found |= {(item.symbol, ordinal) for ordinal in closed.ordinal.tolist() if at > offset}
        return found


def send(bootstrap: str, topic: str, items: Sequence[Item], pause: float = 0.0, partition: int = -1) -> None:
    """Send messages one by one with a pause after each; to their keys' partitions unless one is given."""
    sender = producer(bootstrap)
    for item in items:
        message = encode(item)
        sender.produce(topic, key=message.key, value=message.value, headers=message.headers, partition=partition)
        sender.poll(0)
        time.sleep(pause)
    assert sender.flush(120) == 0


@contextmanager
def flowing(
    bootstrap: str, topic: str, items: Sequence[Item], pause: float, partition: int = -1
) -> Iterator[threading.Thread]:
    """Send while the block runs; all is sent behind it."""
    thread = threading.Thread(target=send, args=(bootstrap, topic, items, pause, partition), daemon=True)
    thread.start()
    yield thread
    thread.join(120)
    assert not thread.is_alive()


def values(bootstrap: str, topic: str) -> list[bytes]:
    """The committed messages of a topic."""
    found = []
    for partition in partitions_of(bootstrap, topic):
        found += [message.value() or b"" for message in read_messages(bootstrap, topic, partition)]
    return found


def published_bars(bootstrap: str, topic: str) -> dict[str, list[Bar]]:
    """Symbol → bars as they were published, repeats too."""
    found: dict[str, list[Bar]] = {}
    for value in values(bootstrap, topic):
        for bar in decode_bars(value):
            found.setdefault(bar.symbol, []).append(bar)
    return found


def said(bootstrap: str, topic: str, kind: type[Prediction] | type[Score]) -> Said:
    """What a topic's predictions or scores say, in a form to compare; one that comes twice fails the test."""
    found: Said = {}
    for value in values(bootstrap, topic):
        one = msgspec.json.decode(value, type=kind)
        assert (one.symbol, one.ordinal) not in found, f"twice: {one}"
        outcome = one.outcome if isinstance(one, Score) else (one.inputs_digest, one.prediction)
        found[one.symbol, one.ordinal] = outcome
    return found
