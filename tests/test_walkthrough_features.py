"""The four features of the volatility model over real ticks, by the engine: streamed in blocks, batched or looped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lit.features.dataset import DatasetAdapter
from lit.features.engine import FeatureEngine, Samples
from lit.features.feature import Feature
from lit.features.library import load_features, save_feature
from lit.features.probe import intervals_of, probe
from lit.streams.tick import END_OF_TIME, Watermark
from lit.streams.workspace import Workspace
from tests.tape import real_ticks

NAMES = ["100_1_minute_bars", "100_1_minute_atr", "per_minute", "atr_up_next_minute"]


@pytest.fixture
def features(workspace: Workspace) -> list[Feature]:
    save_feature(workspace, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(workspace, "100_1_minute_bars", "unit_bar", {"count": 100, "size": 1, "unit": "minute"})
    save_feature(workspace, "100_1_minute_atr", "atr", {"count": 100, "rate": 14, "size": 1, "unit": "minute"})
    save_feature(workspace, "atr_up_next_minute", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    return load_features(workspace, NAMES)


class Looped:
    """A feature without its batch function."""

    batched = False

    def __init__(self, feature: Feature) -> None:
        self.name, self.sort_key, self.compute = feature.name, feature.sort_key, feature.compute


def run(features: list[Any], size: int) -> Samples:
    tape = real_ticks("IBM.N", 2)
    engine = FeatureEngine("IBM.N", features, intervals=intervals_of(probe(features)))
    parts = [engine.feed(tape.slice(at, at + size)) for at in range(0, len(tape), size)]
    return Samples.concat([*parts, engine.feed(Watermark("IBM.N", END_OF_TIME, len(tape)))])


def test_blocks_batches_and_loops_give_the_same_bytes(features: list[Feature]) -> None:
    whole = run(features, 10**9)
    assert len(whole) > 500
    assert whole.values["100_1_minute_bars"].shape[1:] == (100, 8)
    assert whole.values["100_1_minute_atr"].shape[1] == 100
    assert set(np.unique(whole.values["atr_up_next_minute"])) == {0.0, 1.0}
    for other in (run(features, 8192), run(features, 1009), run([Looped(f) for f in features], 8192)):
        assert other.index.tolist() == whole.index.tolist()
        assert all(other.values[name].tobytes() == whole.values[name].tobytes() for name in NAMES)


def test_a_sample_is_the_last_tick_of_its_minute_and_sees_no_bar_of_it(features: list[Feature]) -> None:
    samples, tape = run(features, 8192), real_ticks("IBM.N", 2)
    minute = tape.timestamp // 60_000_000_000
    assert (minute[samples.index] != minute[samples.index + 1]).all()
    adapter = DatasetAdapter.of_blocks([tape])
    row = len(samples) // 2
    bars = adapter.get_bars(int(samples.index[row]), 100, "minute", 1)
    assert samples.values["100_1_minute_bars"][row].tobytes() == bars.tobytes()
    assert bars[-1, 3] == tape.price[np.flatnonzero(minute < minute[samples.index[row]])[-1]]
