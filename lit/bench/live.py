"""Latency live: tick in → bar out, and bar close → prediction out, beside a plain produce-consume hop of the same run.

Each measured process is its own: `python -m lit.bench.live bars|deployment BOOTSTRAP`; the feeder and the readers are
the caller's. Times are taken at the feeder's `produce` and at the readers' receipt, on one clock.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from lit.features.intervals import Interval
from lit.streams import topics
from lit.streams.clients import consumer, producer
from lit.streams.codec import encode
from lit.streams.records import Prediction, decode_bars
from lit.streams.replay_send import Sender
from lit.streams.tick import tick_block

TEAM, STREAM, NAME = "bench", "live", "live"
#: Bars of a second give many closes in a short run.
INTERVAL = Interval.parse("1second")
#: A feed sends at most so many messages a second; above, ticks of a symbol go together, as live adapters do.
MESSAGES_A_SECOND = 2000
_WARM_SECONDS = 3.0
_ROWS = 20


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds, and how many were measured."""

    p50: float
    p99: float
    count: int


class Measured(msgspec.Struct, frozen=True):
    """One rate: a plain hop, a bar, a prediction; and the model alone, for as many symbols as close together."""

    rate: int
    hop: Latency
    bar: Latency
    prediction: Latency
    model_ms: float

    @property
    def ratios(self) -> dict[str, float]:
        """Each latency over the plain hop's; the goal is the last: prediction p99 without the model, at most 5."""
        return {
            "bar_p50_over_hop_p50": round(self.bar.p50 / self.hop.p50, 1),
            "bar_p99_over_hop_p99": round(self.bar.p99 / self.hop.p99, 1),
            "prediction_p50_over_hop_p50": round(self.prediction.p50 / self.hop.p50, 1),
            "prediction_p99_over_hop_p99": round(self.prediction.p99 / self.hop.p99, 1),
            "prediction_p99_less_model_over_hop_p99": round(
                max(0.0, self.prediction.p99 - self.model_ms) / self.hop.p99, 1
            ),
        }


def latency(samples: list[float]) -> Latency:
    """Return quantiles of seconds, in milliseconds."""
    values = np.array(samples or [float("nan")]) * 1000
    return Latency(round(float(np.quantile(values, 0.5)), 3), round(float(np.quantile(values, 0.99)), 3), len(samples))


def bench_model() -> Any:
    """Return a dense model over the last bars, ready to predict, as a deployment would have it."""
    from lit.features.feature import Feature
    from lit.features.library import plugin_scripts
    from lit.features.scripts import load_script
    from lit.serving.predictions import Model
    from lit.serving.predictor import Predictor
    from lit.trainer.asset import FeatureSpec
    from lit.trainer.backend import load

    _, keras = load()
    path = next(path for _, path in plugin_scripts() if path.stem == "unit_bar")
    bars = Feature("bars", load_script(path), {"count": _ROWS, "size": INTERVAL.size, "unit": INTERVAL.unit})
    given = keras.Input((_ROWS, 8), name="bars")
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(given))
    network = keras.Model([given], keras.layers.Dense(1, activation="sigmoid")(hidden))
    predictor = Predictor(network, (FeatureSpec("bars", (_ROWS, 8), ()),))
    predictor.predict_many({"bars": np.zeros((1, _ROWS, 8), np.float32)})
    return Model("dense", [bars], None, predictor)


def model_ms(symbols: int) -> float:
    """Return the 99th percentile of computing a prediction for all symbols at once, in milliseconds."""
    predictor = bench_model().predictor
    inputs = {"bars": np.ones((symbols, _ROWS, 8), np.float32)}
    samples = []
    for _ in range(100):
        began = time.perf_counter()
        predictor.predict_many(inputs)
        samples.append(time.perf_counter() - began)
    return latency(samples).p99


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
    topics.create_topics(bootstrap, topics.ticks(TEAM, "plain"))
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
    while not all(any(read_partition(bootstrap, topic, number)) for number in range(topics.PARTITIONS)):
        if any(child.poll() is not None for child in children) or time.monotonic() > deadline:
            raise FaultError("a measured process did not start: its error is above")
        time.sleep(0.2)


class _Clock:
    """When each tick was sent: (symbol, index) → time; and readers that tell how long what follows took."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.sent: dict[tuple[str, int], float] = {}
        self.end = threading.Event()
        self.since = float("inf")
        self.threads: list[threading.Thread] = []

    def read(self, topic: str, keys: Callable[[Any], list[tuple[str, int]]]) -> list[float]:
        """Read a topic from its end in a thread; returns the list that latencies are put into."""
        found: list[float] = []
        reader = consumer(
            self._bootstrap,
            f"bench-{topic}",
            **{"auto.offset.reset": "latest", "fetch.wait.max.ms": 100, "fetch.min.bytes": 1},
        )
        reader.subscribe([topic])
        reader.poll(0)

        def loop() -> None:
            while not self.end.is_set():
                message = reader.poll(0.1)
                if message is None or message.error() is not None:
                    continue
                now = time.perf_counter()
                for key in keys(message):
                    sent = self.sent.get(key)
                    if sent is not None and sent >= self.since:
                        found.append(now - sent)
            reader.close()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        self.threads.append(thread)
        return found


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
    clock = _Clock(bootstrap)
    hop = clock.read(topics.ticks(TEAM, "plain").name, lambda m: [(m.key().decode(), int(m.value()[:20]))])
    bar = clock.read(
        topics.bars(TEAM, STREAM, str(INTERVAL)).name,
        lambda m: [(b.symbol, b.last_index + 1) for b in decode_bars(m.value())],
    )
    prediction = clock.read(topics.predictions(TEAM, NAME).name, _predicted)
    time.sleep(2.0)  # the readers have their partitions
    clock.since = time.perf_counter() + _WARM_SECONDS
    _feed(bootstrap, clock, rate, seconds + _WARM_SECONDS, symbols, first)
    time.sleep(2.0)
    clock.end.set()
    for thread in clock.threads:
        thread.join(5.0)
    return Measured(rate, latency(hop), latency(bar), latency(prediction), alone_ms)


def _predicted(message: Any) -> list[tuple[str, int]]:
    found = msgspec.json.decode(message.value(), type=Prediction)
    return [(found.symbol, found.index + 1)]


def _feed(bootstrap: str, clock: _Clock, rate: int, seconds: float, symbols: int, first: dict[str, int]) -> None:
    """Send ticks with the time of their sending, symbol after symbol, evenly; to the plain topic a copy of each.

    Ticks go as a stream's worker sends them, the copies without the few milliseconds that it gathers messages for.
    """
    ticks, plain = topics.ticks(TEAM, STREAM).name, topics.ticks(TEAM, "plain").name
    sender, plain_sender = Sender(bootstrap, ticks, 10.0), producer(bootstrap, **{"linger.ms": 0})
    together = max(1, rate // MESSAGES_A_SECOND)
    pause = together / rate
    began, number = time.perf_counter(), 0
    while (due := began + number * pause) < began + seconds:
        while (wait := due - time.perf_counter()) > 0:
            plain_sender.poll(min(wait, 0.001))
        symbol = f"S{number % symbols:03}"
        index = first.get(symbol, 0)
        now = time.time_ns()
        block = tick_block(
            symbol, index, np.full(together, now), np.full(together, 100.0 + number % 7), np.ones(together)
        )
        message = encode(block)
        sent = time.perf_counter()
        for offset in range(together):
            clock.sent[symbol, index + offset] = sent
        sender.send_encoded(message, now)
        plain_sender.produce(plain, key=message.key, value=f"{index:020}".encode() + message.value[20:])
        plain_sender.poll(0)
        first[symbol] = index + together
        number += 1
    sender.finish()
    plain_sender.flush(10)


def _history(bootstrap: str, symbols: int) -> dict[str, int]:
    """Send a tick a second of the time before, so that features have their bars; return each symbol's next index."""
    sender, topic, now = producer(bootstrap), topics.ticks(TEAM, STREAM).name, time.time_ns()
    stamps = np.arange(now - 2 * _ROWS * 1_000_000_000, now, 1_000_000_000)
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
