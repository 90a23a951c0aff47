"""Workers that meet faults in tests, and what must hold of their output whatever they met."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lit.features.intervals import Interval
from lit.features.library import load_features
from lit.processors.delivery import read_messages
from lit.serving.config import DeploymentConfig
from lit.serving.partition import Arrival, DeploymentPartition
from lit.serving.predictions import Model
from lit.streams.records import Prediction, Score
from lit.streams.workspace import Workspace
from tests.deployment_worker import Share
from tests.fault_worker import bars_config
from tests.market import MINUTE, Market, published_bars, said


def command(role: str, kafka: str, market: Market, name: str, at: str | None = None) -> list[str]:
    """Return the command of a worker that signals itself at a stage."""
    given = [sys.executable, "-m", "tests.fault_worker", role, kafka, str(market.folder), name]
    return [*given, "--at", at] if at else given


@contextmanager
def worker(
    role: str, kafka: str, market: Market, log: str, name: str, at: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker; ended at the latest with the block."""
    with log_of(market, log).open("ab") as out:
        process = subprocess.Popen(command(role, kafka, market, name, at), stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def log_of(market: Market, name: str) -> Path:
    return market.folder / f"{name}.log"


def until(condition: Callable[[], bool], log: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:] if log.exists() else "no log"
        time.sleep(0.05)


def check_bars(kafka: str, market: Market, name: str) -> None:
    """Wait for all bars; whatever comes twice, or differs from one pass, fails."""
    topic, total = bars_config(kafka, name).bars_topic(MINUTE), sum(map(len, market.bars.values()))
    until(lambda: sum(map(len, published_bars(kafka, topic).values())) >= total, log_of(market, name))
    assert published_bars(kafka, topic) == market.bars


def check_served(kafka: str, market: Market, wanted: DeploymentConfig, since: int = -1) -> None:
    """Wait for all predictions and scores of bars that close behind an offset; each once, as expected."""
    closed = {one for one in market.closed_after(since) if wanted.serves(one[0])}
    predictions, scores = ({k: v for k, v in goal.items() if k in closed} for goal in market.expected)
    for topic, kind, goal in (
        (wanted.predictions_topics[0], Prediction, predictions),
        (wanted.scores_topics[0], Score, scores),
    ):
        until(lambda t=topic, k=kind, g=goal: len(said(kafka, t, k)) >= len(g), log_of(market, wanted.name))  # type: ignore[misc]
        assert said(kafka, topic, kind) == goal


class Served:
    """A deployment's partition in this process; it is killed by leaving it, as its successor fences it."""

    def __init__(
        self,
        kafka: str,
        market: Market,
        name: str,
        stream: str,
        interval: Interval = MINUTE,
        tickers: tuple[str, ...] = (),
    ) -> None:
        self.config = DeploymentConfig(kafka, "demo", name, stream, interval, tickers)
        self.config.create_topics()
        inputs, label = load_features(Workspace(market.folder, "demo"), ["bars", "up"])
        self._model = Model("share", [inputs], label, Share())
        self.begin()
        self.since = self.partition.position

    def begin(self, *tickers: str) -> None:
        """Take over, also from itself; with other tickers if they are given."""
        self.config = replace(self.config, tickers=tickers or self.config.tickers)
        self.partition = DeploymentPartition(self.config, [self._model], 0)

    def take(self, stop: int) -> None:
        """Take messages up to an offset."""
        messages = read_messages(self.config.bootstrap, self.config.ticks_topic, 0, self.partition.position + 1)
        arrivals = [
            Arrival(m.offset() or 0, m.key() or b"", m.value() or b"", m.headers(), time.time()) for m in messages
        ]
        self.partition.take([one for one in arrivals if one.offset < stop])
