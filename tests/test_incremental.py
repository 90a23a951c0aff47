"""Builds upon builds: whatever changed in between, they end as a clean build; and only what changed is computed."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.engine import SampleError
from lit.features.feature import Feature
from lit.processors.putaside import read_put_aside
from lit.streams.tick import TickBlock
from tests.builds import Building, File, built, feed, frozen_job, script_feature, sequences
from tests.tape import real_ticks, tapes

HEAD = '"""A feature.\n\nParameters\n----------\nn : integer, default 2\n    A number\n"""\n'
SAMPLER = (
    HEAD
    + """
def sort_key():
    return 0


def feature(adapter, index, params={}, other_features={}):
    return [1.0] if adapter[index]["timestamp"] // 1_000_000_000 % params["n"] == 0 else []
"""
)
BATCHED = (
    HEAD
    + """
import numpy as np


def feature(adapter, index, params={}, other_features={}):
    bars = adapter.get_bars(index, params["n"], "minute", 1)
    return bars if len(bars) == params["n"] else []


def feature_batch(adapter, indices, params, other_features):
    bars, lengths = adapter.get_bars_batch(indices, params["n"], "minute", 1)
    keep = lengths == params["n"]
    return keep, bars[keep]
"""
)
LABEL = (
    HEAD
    + """
def feature(adapter, index, params={}, other_features={}):
    bars = adapter.get_bars(index, params["n"], "minute", 1, future=True)
    return bars[-1:, 3] if len(bars) else []
"""
)
CHAINED = (
    HEAD
    + """
def feature(adapter, index, params={}, other_features={}):
    return [sum(float(v.ravel()[0]) for v in other_features.values()) / 3.0 + params["n"]]
"""
)
SCRIPTS = {"every": SAMPLER, "bars": BATCHED, "label": LABEL, "chained": CHAINED}
Chosen = dict[str, int]


def of(chosen: Chosen) -> list[Feature]:
    return [script_feature(name, SCRIPTS[name], {"n": n}) for name, n in chosen.items()]


@pytest.fixture(autouse=True, scope="module")
def _gather_little() -> Iterator[None]:
    """Short tapes are longer than what is gathered, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lit.processors.features.GATHERED", 5)
        yield


@st.composite
def changed(draw: st.DrawFn, chosen: Chosen, options: dict[str, Any]) -> tuple[Chosen, dict[str, Any]]:
    """One change, as users make them: of a feature, of their order, of the schema; or none."""
    what = draw(st.sampled_from(["nothing", "add", "drop", "number", "number", "order", "dtype", "resolution"]))
    name = draw(st.sampled_from(list(SCRIPTS)))
    if what in ("add", "number"):
        chosen = {**chosen, name: draw(st.integers(1, 3))}
    elif what == "drop" and len(chosen) > 1:
        chosen = {key: n for key, n in chosen.items() if key != name}
    elif what == "order":
        chosen = dict(draw(st.permutations(list(chosen.items()))))
    elif what == "dtype":
        options = {**options, "dtype": draw(st.sampled_from(["float32", "float64"]))}
    elif what == "resolution":
        options = {**options, "resolution": draw(st.integers(1, 2))}
    return chosen, options


@settings(max_examples=15)
@given(st.data(), st.sampled_from([7, 25, 10_000]))
def test_any_chain_of_builds_ends_as_a_clean_build(data: st.DataObject, chunk_ticks: int) -> None:
    files: list[File] = []
    chosen: Chosen = {"bars": 2, "label": 1}
    options: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp())
    try:
        for step in range(data.draw(st.integers(2, 4), label="builds")):
            if not files or data.draw(st.booleans(), label="append"):
                symbol = data.draw(st.sampled_from(["A", "B"]))
                files = [*files, (symbol, data.draw(tapes(min_size=25, max_size=90)))]
            chosen, options = data.draw(changed(chosen, options), label="change")
            upon = built(folder / "chain", files, of(chosen), seed=step, chunk_ticks=chunk_ticks, **options)
            clean = built(folder / f"clean{step}", files, of(chosen), seed=step + 9, chunk_ticks=13, **options)
            assert upon == clean
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def days() -> list[File]:
    tape = real_ticks("IBM.N", 3)
    minute = 60_000_000_000
    edges = [0, *np.flatnonzero(np.diff(tape.timestamp) > 300 * minute) + 1, len(tape)]
    cut = [tape.slice(int(low), int(high)).slice(0, 6000) for low, high in itertools.pairwise(edges)]
    return [("IBM.N", TickBlock("IBM.N", 0, block.batch)) for block in cut]


def computed(folder: Path, files: list[File], chosen: Chosen, **options: Any) -> dict[str, int]:
    """Build, and return how many samples each feature was computed at."""
    building = Building(folder, frozen_job(files, of(chosen), **options))
    messages = building.messages(files).get("IBM.N", [])
    counts = feed(building.worker(), messages).get("IBM.N", dict.fromkeys(chosen, 0))
    building.merge()
    return {**counts, "ticks read": sum(len(one) for one in messages if isinstance(one, TickBlock))}


def test_only_what_changed_is_computed(tmp_path: Path, days: list[File]) -> None:
    assert len(days) == 3
    ticks = [len(tape) for _, tape in days]
    first = computed(tmp_path, days[:2], {"every": 3, "bars": 5})
    assert first["every"] == sum(ticks[:2]) and 1000 < first["bars"] < first["every"]
    assert computed(tmp_path, days[:2], {"every": 3, "bars": 5}) == {"every": 0, "bars": 0, "ticks read": 0}
    added = computed(tmp_path, days[:2], {"every": 3, "bars": 5, "label": 2})
    # samples that the bars had rejected left no value of the sampler behind
    assert added["every"] < 20 and added["bars"] == 0 and 1000 < added["label"] <= first["bars"]
    changed = computed(tmp_path, days[:2], {"every": 3, "bars": 5, "label": 3})
    assert changed["bars"] < 100, "and those of the bars that the label before had rejected"
    assert changed["label"] == added["label"]
    appended = computed(tmp_path, days, {"every": 3, "bars": 5, "label": 3})
    assert ticks[2] <= appended["every"] < ticks[2] + 1500, "the new day, and what waited for it"
    assert appended["ticks read"] == ticks[2] and changed["ticks read"] == sum(ticks[:2])


def test_a_feature_dropped_brings_back_the_samples_that_it_rejected(tmp_path: Path, days: list[File]) -> None:
    strict = computed(tmp_path, days[:1], {"every": 3, "bars": 2, "label": 20})
    loose = computed(tmp_path, days[:1], {"every": 3, "bars": 2})
    assert 0 < loose["bars"] < strict["bars"] and loose["bars"] <= loose["every"] < strict["every"]
    clean = built(tmp_path / "clean", days[:1], of({"every": 3, "bars": 2}))
    assert Building(tmp_path, frozen_job(days[:1], of({"every": 3, "bars": 2}))).merge() == clean


def test_an_interrupted_build_goes_on_behind_its_finished_chunks(tmp_path: Path, days: list[File]) -> None:
    chosen = {"every": 2, "bars": 5, "label": 2}
    whole = built(tmp_path / "clean", days, of(chosen))
    building = Building(tmp_path / "cut", frozen_job(days, of(chosen), chunk_ticks=2000))
    messages = sequences(days, seed=4)["IBM.N"]
    feed(building.worker(), messages[: len(messages) // 2])
    again = Building(tmp_path / "cut", frozen_job(days, of(chosen), chunk_ticks=2000))
    assert 0 < len(again.missing) < len(building.missing)
    left = sum(plan.stop - plan.first for plan in again.missing)
    assert feed(again.worker(), messages)["IBM.N"]["every"] == left
    assert again.merge() == whole


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_makes_the_same_dataset(tmp_path: Path, days: list[File], workers: int) -> None:
    files = [(symbol, tape) for _, tape in days for symbol in ("A", "B", "C")]
    files = [(symbol, TickBlock(symbol, 0, tape.batch)) for symbol, tape in files]
    chosen = {"bars": 5, "every": 5, "chained": 1}
    building = Building(tmp_path, frozen_job(files, of(chosen), chunk_ticks=[1000, 10_000, 777][workers % 3]))
    crowd = [building.worker() for _ in range(workers)]
    for number, messages in enumerate(sequences(files, workers).values()):
        feed(crowd[number % workers], messages)
    assert building.merge() == built(tmp_path / "clean", files, of(chosen))


BREAKING = SAMPLER.replace("return [1.0]", "return [1.0 / (index % 1000 - 500)]")


def test_a_failing_script_is_told_with_sample_feature_and_line(tmp_path: Path, days: list[File]) -> None:
    features = [*of({"bars": 2}), script_feature("breaks", BREAKING, {"n": 1})]
    with pytest.raises(SampleError, match=r"sample \d*500 \(IBM.N tick \d*500\), feature 'breaks': .* line 14: Zero"):
        built(tmp_path, days, features)


@pytest.mark.parametrize("batched", [False, True])
def test_quarantine_goes_on_without_the_samples_that_fail(tmp_path: Path, days: list[File], batched: bool) -> None:
    source = BREAKING
    if batched:
        source += (
            "\n\ndef feature_batch(adapter, indices, params, other_features):\n"
            "    import numpy as np\n\n"
            "    values = [feature(adapter, i, params, {}) for i in indices.tolist()]\n"
            "    return np.array([bool(v) for v in values]), np.array([v for v in values if v])\n"
        )
    features = [*of({"bars": 2}), script_feature("breaks", source, {"n": 1})]
    parts = built(tmp_path, days[:1], features, on_error="quarantine")
    failed = read_put_aside(tmp_path / "quarantine.jsonl")
    count = len(days[0][1])
    assert 4 < len(failed) <= count // 1000 + 1 and all(one.position % 1000 == 500 for one in failed)
    assert {(one.symbol, one.feature, one.line) for one in failed} == {("IBM.N", "breaks", 14)}
    with h5py.File(tmp_path / "train.h5") as train, h5py.File(tmp_path / "test.h5") as test:
        seen = {*train["index"][:].tolist(), *test["index"][:].tolist()}
    assert not seen & {one.index for one in failed}
    assert len(seen) == sum(part["samples"] for part in parts.values()) > 500
    stopping = Building(tmp_path, frozen_job(days[:1], features))
    assert stopping.missing, "what was put aside is no answer where a failure must stop the build"
