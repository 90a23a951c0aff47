"""The feature engine: any cut gives the same samples as asking a finished dataset; chunks do not depend on workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.dataset import DatasetAdapter
from lit.features.engine import FeatureEngine, Samples
from lit.features.intervals import Interval
from lit.features.probe import intervals_of, probe
from lit.features.schema import Schema, Split
from lit.streams.errors import UserError
from lit.streams.tick import END_OF_TIME, TickBlock, Watermark
from tests.tape import cut, cuts, real_ticks, tapes

MINUTE = 60_000_000_000


class LastOfMinute:
    """A sampler: keeps ticks whose next lies in another minute."""

    name, sort_key = "per_minute", 0.0

    def __init__(self, batched: bool) -> None:
        self.batched = batched

    def compute(self, adapter: Any, index: int, others: Any) -> Any:
        if index + 1 >= len(adapter):
            return None
        now, after = adapter[index]["timestamp"], adapter[index + 1]["timestamp"]
        return np.array([1.0]) if now // MINUTE != after // MINUTE else None

    def compute_batch(self, adapter: Any, indices: Any, others: Any) -> Any:
        inside = indices[indices + 1 < len(adapter)]
        now, after = adapter.column("timestamp", inside), adapter.column("timestamp", inside + 1)
        keep = np.zeros(len(indices), bool)
        keep[: len(inside)] = now // MINUTE != after // MINUTE
        return keep, np.ones((int(keep.sum()), 1))


class Bars:
    """Past or future bars; rejects where there are fewer than asked for."""

    sort_key = 1.0

    def __init__(self, name: str, count: int, future: bool, batched: bool) -> None:
        self.name, self.count, self.future, self.batched = name, count, future, batched

    def compute(self, adapter: Any, index: int, others: Any) -> Any:
        rows = adapter.get_bars(index, self.count, "minute", 1, future=self.future)
        return rows if len(rows) == self.count else None

    def compute_batch(self, adapter: Any, indices: Any, others: Any) -> Any:
        values, lengths = adapter.get_bars_batch(indices, self.count, "minute", 1, self.future)
        keep = lengths == self.count
        return keep, values[keep]


def features(batched: bool) -> list[Any]:
    return [
        Bars("label", 1, True, batched),
        Bars("past", 2, False, batched),
        LastOfMinute(batched),
    ]


def run(blocks: list[TickBlock], batched: bool, resolution: int = 1) -> Samples:
    engine = FeatureEngine(blocks[0].symbol, features(batched), resolution, [Interval.parse("1minute")])
    parts = [engine.feed(block) for block in blocks]
    parts.append(engine.feed(Watermark(blocks[0].symbol, END_OF_TIME, engine.next_index)))
    assert engine.settled == engine.next_index
    return Samples.concat(parts)


def same(left: Samples, right: Samples) -> bool:
    return (
        left.index.tolist() == right.index.tolist()
        and left.timestamp.tolist() == right.timestamp.tolist()
        and all(left.values[name].tobytes() == right.values[name].tobytes() for name in right.values)
    )


@given(st.data(), tapes(min_size=5), st.booleans(), st.integers(1, 3))
def test_any_cut_gives_what_a_finished_dataset_gives(data, tape, batched, resolution) -> None:  # type: ignore[no-untyped-def]
    streamed = run(cut(tape, data.draw(cuts(len(tape)))), batched, resolution)
    adapter = DatasetAdapter.of_blocks([tape])
    sampler, past, label = LastOfMinute(False), Bars("past", 2, False, False), Bars("label", 1, True, False)
    index = [
        i
        for i in range(0, len(tape), resolution)
        if all(f.compute(adapter, i, {}) is not None for f in (sampler, past, label))
    ]
    assert streamed.index.tolist() == index
    for row, i in enumerate(index):
        assert streamed.values["past"][row].tobytes() == past.compute(adapter, i, {}).tobytes()
        assert streamed.values["label"][row].tobytes() == label.compute(adapter, i, {}).tobytes()


@settings(max_examples=10)
@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=8).map(sorted))
def test_real_ticks_give_the_same_bytes_in_batches_and_one_by_one(places: list[int]) -> None:
    tape = real_ticks("IBM.N", 2)
    assert same(run(cut(tape, places), True), run([tape], True))


def test_the_batch_equals_the_loop_on_real_ticks() -> None:
    tape = real_ticks("IBM.N", 1)
    whole = run([tape], True)
    assert len(whole) > 300 and same(run([tape], False), whole)


def test_a_probe_tells_what_features_read() -> None:
    found = probe(features(False))
    assert intervals_of(found) == [Interval.parse("1minute")]
    assert found["per_minute"].ticks and not found["past"].ticks
    assert found["label"].future and not found["past"].future


@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_a_random_split_depends_on_seed_and_index_alone(seed: int, fraction: float) -> None:
    index = np.arange(5000)
    whole = Split("random", fraction, seed).is_test(index, index)
    assert abs(whole.mean() - fraction) < 0.05
    assert (Split("random", fraction, seed).is_test(index[100:200], index[100:200]) == whole[100:200]).all()


@pytest.mark.parametrize(
    "change",
    [{"paths": []}, {"features": ["a", "a"]}, {"resolution": 0}, {"split": Split("date", "soon")}, {"name": "../x"}],
)
def test_an_unusable_schema_is_refused(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"name": "s", "paths": ["a.csv.gz"], "features": ["a"], **change}
    with pytest.raises(UserError):
        Schema(**fields).check()
