"""Latency live: tick in → bar out, and bar close → prediction out, beside a plain hop through Kafka of the same ticks.

The hop is what a plain consumer of the stream's topic sees; no copy of the ticks is sent, which would cost more than
what is measured. Each measured process is its own: `python -m lit.bench.live bars|deployment BOOTSTRAP`; the feeder
and the readers are the caller's. Times are taken at the feeder's `produce` and at the readers' receipt, on one clock.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from lit.bench.live_model import INTERVAL, ROWS, bench_model
from lit.streams import topics
from lit.streams.clients import consumer, partitions_of, producer
from lit.streams.codec import Encoded, encode
from lit.streams.records import Prediction, decode_bars
from lit.streams.replay_send import Sender
from lit.streams.tick import tick_block

TEAM, STREAM, NAME = "bench", "live", "live"
#: A feed sends at most so many messages a second; above, ticks of a symbol go together, as live adapters do.
MESSAGES_A_SECOND = 2000
#: The broker compiles what it runs often: transactions take half as long after some seconds.
_WARM_SECONDS = 10.0
#: What making a message may take, some three times what it does.
_MAKING_SECONDS = 0.0001


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds, and how many were measured."""

    p50: float
    p99: float
    count: int


class Measured(msgspec.Struct, frozen=True):
    """One rate: a plain hop, a bar, a prediction, each after the same ticks: those that closed a bar.

    When many bars close together, all that runs on the machine is slower, a plain hop too: so `hop` is of those ticks
    only, and `hop_of_all` of all. `model_ms` is the model alone, for as many symbols as close together. `missing` are
    bars without a prediction two seconds after the last tick, `lag` messages of ticks that the deployment left then.
    """

    rate: int
    hop_of_all: Latency
    hop: Latency
    bar: Latency
    prediction: Latency
    model_ms: float
    missing: int
    lag: int

    @property
    def ratios(self) -> dict[str, float]:
        """Each latency over the plain hop's; the goal is of prediction p99 without the model, at most 5."""
        return {
            "bar_p50_over_hop_p50": round(self.bar.p50 / self.hop.p50, 1),
            "bar_p99_over_hop_p99": round(self.bar.p99 / self.hop.p99, 1),
            "prediction_p50_over_hop_p50": round(self.prediction.p50 / self.hop.p50, 1),
            "prediction_p99_over_hop_p99": round(self.prediction.p99 / self.hop.p99, 1),
            "prediction_p99_less_model_over_hop_p99": round(self._without_model / self.hop.p99, 1),
            "prediction_p99_less_model_over_hop_of_all_p99": round(self._without_model / self.hop_of_all.p99, 1),
        }

    @property
    def _without_model(self) -> float:
        return max(0.0, self.prediction.p99 - self.model_ms)


def latency(samples: list[float]) -> Latency:
    """Return quantiles of seconds, in milliseconds."""
    values = np.array(samples or [float("nan")]) * 1000
    return Latency(round(float(np.quantile(values, 0.5)), 3), round(float(np.quantile(values, 0.99)), 3), len(samples))


def serve(role: str, bootstrap: str) -> None:
    """Run a measured process until it is ended."""
    from lit.processors.app import run
    from lit.processors.bars import bars_app
    from lit.processors.bars_config import BarsConfig
    from lit.serving.config import DeploymentConfig
    from lit.serving.deployment import deployment_app

    if role == "bars":
        run(bars_app(BarsConfig(bootstrap, TEAM, STREAM, (INTERVAL,))))
    else:
        run(deployment_app(DeploymentConfig(bootstrap, TEAM, NAME, STREAM, INTERVAL), [bench_model()]))


@contextmanager
def processes(bootstrap: str, symbols: int) -> Iterator[dict[str, int]]:
    """Run the measured processes; once both work, yields each symbol's next index."""
    from lit.processors.bars_config import BarsConfig
    from lit.serving.config import DeploymentConfig

    BarsConfig(bootstrap, TEAM, STREAM, (INTERVAL,)).create_topics()
    DeploymentConfig(bootstrap, TEAM, NAME, STREAM, INTERVAL).create_topics()
    children = [
        subprocess.Popen([sys.executable, "-m", "lit.bench.live", role, bootstrap]) for role in ("bars", "deployment")
    ]
    try:
        _await_states(bootstrap, topics.state(TEAM, "deployment", NAME).name, children)
        first = _history(bootstrap, symbols)
        _await_states(bootstrap, topics.state(TEAM, "bars", STREAM).name, children)
        yield first
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(30)


def _await_states(bootstrap: str, topic: str, children: list[subprocess.Popen[bytes]]) -> None:
    from lit.processors.delivery import read_partition
    from lit.streams.errors import FaultError

    deadline = time.monotonic() + 120
    while not all(any(read_partition(bootstrap, topic, number)) for number in partitions_of(bootstrap, topic)):
        if any(child.poll() is not None for child in children) or time.monotonic() > deadline:
            raise FaultError("a measured process did not start: its error is above")
        time.sleep(0.2)


class _Reader:
    """Notes when messages of a topic are received, from its end on; what they are is looked at afterwards."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = consumer(bootstrap, f"bench-{topic}", **{"auto.offset.reset": "latest"})
        self._consumer.subscribe([topic])
        self._consumer.poll(0)
        self._received: list[tuple[float, Any]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._end.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self._received.append((time.perf_counter(), message))
        self._consumer.close()

    def end(self) -> list[tuple[float, Any]]:
        """Stop, and return what was received with its times."""
        self._end.set()
        self._thread.join(5.0)
        return self._received


#: When each message was sent: (symbol, its first index) → time. Its ticks have one time, so the first closes bars.
Sent = dict[tuple[str, int], float]


def measure(
    bootstrap: str, rate: int, seconds: float, symbols: int, first: dict[str, int], alone_ms: float
) -> Measured:
    """Feed ticks at a rate and measure.

    Parameters
    ----------
    first
        Symbol → index of its next tick; kept up to date, so that rates can follow each other.
    alone_ms
        The model's own time.
    """
    readers = [
        _Reader(bootstrap, topic.name)
        for topic in (
            topics.ticks(TEAM, STREAM),
            topics.bars(TEAM, STREAM, str(INTERVAL)),
            topics.predictions(TEAM, NAME),
        )
    ]
    time.sleep(2.0)  # the readers have their partitions
    gc.collect()
    gc.disable()  # a full collection, of what TensorFlow's import left, stops feeder and readers for a quarter second
    try:
        sent = _feed(bootstrap, rate, seconds + _WARM_SECONDS, symbols, first)
        time.sleep(2.0)
    finally:
        gc.enable()
    since = min(sent.values()) + _WARM_SECONDS
    received = [
        {key: at - sent[key] for at, message in reader.end() for key in keys(message) if sent.get(key, 0.0) >= since}
        for reader, keys in zip(readers, (_sent, _closed, _predicted), strict=True)
    ]
    of_all = latency(list(received[0].values()))
    hop, bar, prediction = (latency([after[key] for key in received[2] if key in after]) for after in received)
    missing = len(received[1].keys() - received[2].keys())
    return Measured(rate, of_all, hop, bar, prediction, alone_ms, missing, _lag(bootstrap))


def _lag(bootstrap: str) -> int:
    """Return what the deployment told last of messages that wait."""
    from lit.processors.delivery import read_messages
    from lit.serving.health import Health
    from lit.serving.partition import HEALTH

    topic = topics.state(TEAM, "deployment", NAME).name
    told = {
        number: msgspec.json.decode(message.value() or b"", type=Health).lag
        for number in partitions_of(bootstrap, topic)
        for message in read_messages(bootstrap, topic, number)
        if message.key() == HEALTH
    }
    return sum(told.values())


def _sent(message: Any) -> list[tuple[str, int]]:
    return [(message.key().decode(), int(dict(message.headers())["first-index"]))]


def _closed(message: Any) -> list[tuple[str, int]]:
    """Return the ticks that closed the bars of a message: each is the one after its bar."""
    return [(bar.symbol, bar.last_index + 1) for bar in decode_bars(message.value())]


def _predicted(message: Any) -> list[tuple[str, int]]:
    found = msgspec.json.decode(message.value(), type=Prediction)
    return [(found.symbol, found.index + 1)]


def _feed(bootstrap: str, rate: int, seconds: float, symbols: int, first: dict[str, int]) -> Sent:
    """Send messages evenly, symbol after symbol, as a stream's worker does; return when each was sent.

    They are made before, with the times that they are due at as their ticks' times: the machine is for who is measured.
    """
    together = max(1, rate // MESSAGES_A_SECOND)
    count = int(seconds * rate / together)
    began = time.time() + 1.0 + count * _MAKING_SECONDS
    planned: list[tuple[float, Encoded, tuple[str, int]]] = []
    for number in range(count):
        due, symbol = began + number * together / rate, f"S{number % symbols:03}"
        index = first.get(symbol, 0)
        first[symbol] = index + together
        stamps, prices = np.full(together, int(due * 1e9)), np.full(together, 100.0 + number % 7)
        block = tick_block(symbol, index, stamps, prices, np.ones(together))
        planned.append((due, encode(block), (symbol, index)))
    sender, sent = Sender(bootstrap, topics.ticks(TEAM, STREAM).name, 10.0), Sent()
    for due, message, key in planned:
        time.sleep(max(0.0, due - time.time()))
        sent[key] = time.perf_counter()
        sender.send_encoded(message, time.time_ns())
    sender.finish()
    return sent


def _history(bootstrap: str, symbols: int) -> dict[str, int]:
    """Send a tick a second of the time before, so that features have their bars; return each symbol's next index."""
    sender, topic, now = producer(bootstrap), topics.ticks(TEAM, STREAM).name, time.time_ns()
    stamps = np.arange(now - 2 * ROWS * 1_000_000_000, now, 1_000_000_000)
    first: dict[str, int] = {}
    for number in range(symbols):
        symbol = f"S{number:03}"
        message = encode(tick_block(symbol, 0, stamps, np.full(len(stamps), 100.0), np.ones(len(stamps))))
        sender.produce(topic, key=message.key, value=message.value, headers=message.headers)
        first[symbol] = len(stamps)
    sender.flush(10)
    return first


if __name__ == "__main__":
    serve(*sys.argv[1:3])
