"""The audit of an asset: its numbers are NumPy's, whatever the chunks, and what misleads a training is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lit.features.content import content_digest
from lit.features.library import load_features, save_feature
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset
from lit.trainer.asset_sample import sample_of, samples_table
from lit.trainer.audit import Audit, audit
from lit.trainer.audit_file import audited, kept_audit
from lit.trainer.column_stats import BINS, Column, columns_of
from lit.trainer.drift import FLOOR, decile_counts, kolmogorov_smirnov, population_stability
from lit.trainer.duplicates import add_feature, count_duplicates, hashes
from lit.trainer.horizon import horizons_of
from lit.trainer.overlap import overlap
from tests.training import write_asset, write_part

MINUTE = 60_000_000_000
START = 1_460_000_000_000_000_000


def chunked(values: npt.NDArray[Any], size: int) -> Callable[[], Iterator[npt.NDArray[Any]]]:
    return lambda: (np.ascontiguousarray(values[i : i + size]) for i in range(0, len(values), size))


def columns(values: npt.NDArray[Any], size: int = 7, like: list[Column] | None = None) -> list[Column]:
    grids = None if like is None else [column.grid for column in like]
    return columns_of(chunked(values, size), values.shape[1], values.dtype, grids)


def arrays(dtype: type[np.floating[Any]], nan: bool = True) -> st.SearchStrategy[npt.NDArray[Any]]:
    width = np.dtype(dtype).itemsize * 8
    elements = st.one_of(
        st.floats(-1e9, 1e9, width=width, allow_subnormal=False)
        if width == 64
        else st.floats(-(2**30), 2**30, width=32),
        st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5]),
        st.sampled_from([np.nan, np.inf, -np.inf]) if nan else st.just(2.0),
    )
    return hnp.arrays(dtype, st.tuples(st.integers(1, 60), st.integers(1, 3)), elements=elements)


@settings(max_examples=80, deadline=None)
@given(st.one_of(arrays(np.float32), arrays(np.float64)), st.integers(1, 30))
@example(np.array([[0.0], [2.3e-308]]), 1)
def test_columns_are_summarised_as_numpy_does_whatever_the_chunks(values: npt.NDArray[Any], size: int) -> None:
    found = columns(values, size)
    assert [column.stats for column in found] == [column.stats for column in columns(values, 10_000)]
    exact = values.dtype == np.float32
    for c, column in enumerate(found):
        stats, all_of = column.stats, values[:, c].astype(np.float64)
        own = np.sort(all_of[np.isfinite(all_of)])
        assert stats.values == len(all_of)
        assert stats.nan_share == np.isnan(all_of).mean() and stats.inf_share == np.isinf(all_of).mean()
        if not len(own):
            assert (stats.min, stats.mean, stats.std, stats.quantiles, stats.histogram) == (None, None, None, {}, None)
            continue
        assert (stats.min, stats.max) == (own[0], own[-1]) and stats.constant == (own[0] == own[-1])
        np.testing.assert_allclose(
            [stats.mean, stats.std], [own.mean(), own.std()], rtol=1e-9, atol=1e-9 * abs(own).max()
        )
        for percent, value in stats.quantiles.items():
            expected = own[max(0, -(-int(percent) * len(own) // 100) - 1)]
            assert value == expected if exact else abs(value - expected) <= abs(expected) * 2.0**-21
        assert stats.histogram is not None
        low, high = stats.histogram.low, stats.histogram.high
        if low < high:
            inside = own[(own >= low) & (own <= high)]
            assert stats.histogram.counts == np.histogram(inside, np.linspace(low, high, BINS + 1))[0].tolist()
        assert (stats.histogram.below, stats.histogram.above) == ((own < low).sum(), (own > high).sum())
        assert sum(stats.histogram.counts) + stats.histogram.below + stats.histogram.above == len(own)
        classes, counts = np.unique(own, return_counts=True)
        expected_classes = list(zip(classes.tolist(), counts.tolist(), strict=True)) if len(classes) <= 16 else None
        assert stats.classes == expected_classes


def test_values_at_the_end_of_the_range_are_summarised_too() -> None:
    stats = columns(np.array([[-1.7e308], [1.7e308], [1.0]]))[0].stats
    assert stats.histogram is not None and (stats.min, stats.max) == (-1.7e308, 1.7e308)
    assert (stats.histogram.below, sum(stats.histogram.counts), stats.histogram.above) == (1, 1, 1)


@settings(max_examples=80, deadline=None)
@given(arrays(np.float32), arrays(np.float32))
def test_drift_is_what_numpy_says_of_the_values_themselves(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
    train = columns(first[:, :1])[0]
    test = columns(second[:, :1], like=[train])[0]
    a, b = (x[:, 0].astype(np.float64) for x in (first, second))
    own = np.sort(a[np.isfinite(a)])
    assume(len(own))
    ranks = np.maximum((np.arange(0, 101, 10) * len(own) + 99) // 100 - 1, 0)
    edges = np.unique(own[ranks])

    def counts(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        finite = values[np.isfinite(values)]
        upto = [(finite < edges[0]).sum(), *((finite <= edge).sum() for edge in edges), len(finite)]
        return np.append(np.diff(upto, prepend=0), len(values) - len(finite))

    assert train.grid is not None
    deciles = train.grid.deciles
    assert decile_counts(train.counts, deciles).tolist() == counts(a).tolist()
    assert decile_counts(test.counts, deciles).tolist() == counts(b).tolist()
    e, o = (np.maximum(counts(x) / len(x), FLOOR) for x in (a, b))
    index = population_stability(decile_counts(train.counts, deciles), decile_counts(test.counts, deciles))
    assert index == pytest.approx(((o - e) * np.log(o / e)).sum())
    assert index >= 0 and population_stability(counts(a), counts(a)) == 0
    other = np.sort(b[np.isfinite(b)])
    if len(other):
        at = np.concatenate([own, other])
        true = max(
            np.abs(np.searchsorted(own, at, side) / len(own) - np.searchsorted(other, at, side) / len(other)).max()
            for side in ("left", "right")
        )
        seen = kolmogorov_smirnov(train.counts, test.counts)
        assert seen - 1e-12 <= true <= seen + 0.01 + 1e-12


def test_a_shift_is_seen_and_chance_is_not() -> None:
    rng = np.random.default_rng(0)
    train, same, moved = rng.normal(size=(20_000, 1)), rng.normal(size=(8000, 1)), rng.normal(0.7, 1, (8000, 1))
    own = columns(train, 5000)[0]
    for values, low, high in ((same, 0.0, 0.02), (moved, 0.25, 1.5)):
        other = columns(values, 5000, [own])[0]
        assert own.grid is not None
        bins = [decile_counts(part.counts, own.grid.deciles) for part in (own, other)]
        assert low <= population_stability(*bins) <= high


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.integers(0, 40), st.integers(1, 11)), elements=st.sampled_from([0.0, 1.0])),
    st.integers(0, 40),
)
def test_duplicates_are_those_that_comparing_all_pairs_finds(values: npt.NDArray[Any], cut: int) -> None:
    train = min(cut, len(values))
    with hashes(len(values)) as found:
        for start in range(0, len(values), 7):
            add_feature(found[start : start + 7], values[start : start + 7])
            add_feature(found[start : start + 7], values[start : start + 7, :1])
        counted = count_duplicates(found, train)
    rows = [row.tobytes() for row in values]
    first, second = rows[:train], rows[train:]
    assert counted.train == len(first) - len(set(first)) and counted.test == len(second) - len(set(second))
    assert counted.across == sum(row in set(first) for row in second)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2)), max_size=30),
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2)), max_size=30),
    st.integers(0, 6),
    st.integers(1, 10),
)
def test_overlapping_label_windows_are_counted_as_by_hand(
    train: list[tuple[int, int]], test: list[tuple[int, int]], horizon: int, size: int
) -> None:
    def samples(of: list[tuple[int, int]]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        for start in range(0, len(of), size):
            part = np.array(of[start : start + size], np.int64)
            yield part[:, 0] * 1_000_000_000, part[:, 1]

    expected = sum(any(s == own and abs(t - u) <= horizon for u, own in test) for t, s in train)
    assert overlap(samples(train), samples(test), horizon).samples == expected


def part(path: Path, features: dict[str, Any], minutes: npt.NDArray[Any], symbols: list[str]) -> None:
    write_part(
        path, {name: (values, [f"{name}_{i}" for i in range(values.shape[-1])]) for name, values in features.items()}
    )
    with h5py.File(path, "r+") as file:
        del file["symbol"], file["timestamp"]
        file.create_dataset("symbol", data=symbols, dtype=h5py.string_dtype("utf-8"))
        file["timestamp"] = START + minutes.astype(np.int64) * MINUTE
        file.attrs["digest"] = content_digest(file)


def audit_of(folder: Path, labels: dict[str, float | None] | None = None) -> Audit:
    with Asset(folder / "train.h5") as train, Asset(folder / "test.h5") as test:
        return audit(train, test, labels)


def kinds(found: Audit) -> set[tuple[str, str]]:
    return {(finding.kind, finding.where) for finding in found.findings}


def test_how_far_a_label_looks_ahead_is_found_by_running_it(workspace: Workspace) -> None:
    save_feature(workspace, "up", "atr_up", {"rate": 14, "size": 1, "unit": "minute"})
    save_feature(workspace, "ticks", "price_next_bars", {"count": 3, "size": 50, "unit": "tick"})
    save_feature(workspace, "x", "unit_bar", {"count": 5, "size": 1, "unit": "minute"})
    frozen = {
        feature.name: {"script": feature.script.name, "source": feature.script.source, "params": feature.params}
        for feature in load_features(workspace, ["up", "ticks", "x"])
    }
    assert horizons_of({"features": frozen}) == {"up": 15 * 60.0, "ticks": None}
    assert horizons_of({"features": ["up"]}) == {} == horizons_of({})


def test_a_label_that_reaches_into_the_test_span_is_a_leak(tmp_path: Path) -> None:
    labels: dict[str, float | None] = {"up": 15 * 60.0}
    rng = np.random.default_rng(1)
    minutes, symbols = np.arange(200), ["ÄÖ.DE", "株式"] * 100

    def write(name: str, keep: npt.NDArray[Any], at: npt.NDArray[Any]) -> None:
        values = {"x": rng.normal(size=(len(keep), 5, 2)), "up": rng.integers(0, 2, (len(keep), 1)).astype(np.float32)}
        part(tmp_path / name, values, at[keep], [symbols[i] for i in keep])

    write("train.h5", np.arange(160), minutes)
    write("test.h5", np.arange(160, 200), minutes)
    found = audit_of(tmp_path, labels)
    # train ends at minute 159, test begins at 160 and 161; windows are 15 minutes long and meet when both overlap
    expected = sum(any(abs(t - u) <= 15 and (t - u) % 2 == 0 for u in range(160, 200)) for t in range(160))
    assert found.overlap is not None and (found.overlap.horizon_seconds, found.overlap.samples) == (900.0, expected)
    assert ("leak", "train") in kinds(found) and found.train.symbols == {"ÄÖ.DE": 80, "株式": 80}
    assert [feature.label for feature in found.features] == [True, False]
    write("test.h5", np.arange(160, 200), minutes + 100)
    found = audit_of(tmp_path, labels)
    assert found.overlap is not None and found.overlap.samples == 0
    assert kinds(found) == {("few", "train"), ("few", "test")} and "±16%" in found.findings[1].text


def test_what_misleads_a_training_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for name, count in (("train.h5", 2000), ("test.h5", 500)):
        drift = 3.0 if name == "test.h5" else 0.0
        x = rng.normal(size=(count, 4, 5))
        x[..., 1] = 7
        x[:, 0, 2] = np.nan
        x[::3, 0, 3] = 1e6
        x[..., 4] += drift
        label = (rng.random((count, 1)) < 0.02).astype(np.float32)
        x[5], label[5] = x[4], label[4]
        if name == "test.h5":
            with Asset(tmp_path / "train.h5") as train:
                x[7], label[7] = train.read("x", 9, 10)[0], train.read("up", 9, 10)[0]
        part(tmp_path / name, {"x": x, "up": label}, np.arange(count) + (1e6 if drift else 0), ["A"] * count)
    found = audit_of(tmp_path, {"up": 900.0})
    assert kinds(found) == {
        ("constant", "x.x_1"),
        ("missing", "x.x_2"),
        ("outliers", "x.x_3"),
        ("drift", "x.x_4"),
        ("balance", "up.up_0"),
        ("duplicates", "train"),
        ("duplicates", "test"),
        ("leak", "test"),
    }
    assert (found.duplicates.train, found.duplicates.test, found.duplicates.across) == (1, 1, 1)
    column = found.features[1].columns[2]
    assert column.train.nan_share == 0.25 and column.train.values == 8000


@pytest.mark.parametrize(("train", "test"), [(1, 1), (5, 0), (0, 3), (0, 0)])
def test_assets_of_hardly_any_samples_are_audited(tmp_path: Path, train: int, test: int) -> None:
    for name, count in (("train.h5", train), ("test.h5", test)):
        part(tmp_path / name, {"x": np.full((count, 3), np.nan)}, np.arange(count), ["A"] * count)
    found = audit_of(tmp_path)
    assert {where for kind, where in kinds(found) if kind == "empty"} == {
        name for name, count in (("train", train), ("test", test)) if not count
    }
    assert all(column.psi is None for column in found.features[0].columns)


def test_an_audit_is_kept_until_a_part_is_another_one(workspace: Workspace) -> None:
    write_asset(workspace, train=50, test=20)
    folder = workspace.path("assets", "small", "queue")
    assert kept_audit(folder) is None
    asked: list[str] = []
    first = audited(folder, lambda what, *_: asked.append(what))
    assert asked == ["atr", "bars", "up", "digests"] and kept_audit(folder) == first
    assert audited(folder, lambda *_: pytest.fail("it was made again")) == first
    moved = folder.parent
    for name in ("train.h5", "test.h5", "audit.json"):
        (folder / name).rename(moved / name)
    assert kept_audit(moved) == first
    with h5py.File(moved / "train.h5", "r+") as file:
        file["up"][3] = 5
    assert kept_audit(moved) is None
    changed = audited(moved)
    assert ("digest", "train") in kinds(changed) and changed.features[2].columns[0].train.max == 5
    (moved / "audit.json").write_text("{half")
    assert kept_audit(moved) is None and audited(moved) == changed


def test_labels_of_one_axis_and_whole_numbers_are_read_as_any_other(tmp_path: Path) -> None:
    for name, count in (("train.h5", 40), ("test.h5", 10)):
        part(tmp_path / name, {"x": np.ones((count, 2), np.int32)}, np.arange(count), ["A"] * count)
        with h5py.File(tmp_path / name, "r+") as file:
            file["y"] = np.arange(count) % 2 == 0
    found = audit_of(tmp_path)
    assert found.features[1].shape == [] and found.features[1].columns[0].train.classes == [(0.0, 20), (1.0, 20)]
    with Asset(tmp_path / "train.h5") as train:
        assert sample_of(train, 2).features["y"].rows == [[1.0]]
        assert samples_table(train, 0, 3)["y"].to_pylist() == [True, False, True]
        assert train.frame(["y"], 0, 3)["y.0"].tolist() == [True, False, True]
        (batch,) = train.batches(["x", "y"], 64, seed=0, epoch=0)
        assert batch["y"].shape == (40,) and batch["y"].sum() == 20


def test_parts_of_different_features_are_no_asset(tmp_path: Path) -> None:
    part(tmp_path / "train.h5", {"x": np.ones((3, 1))}, np.arange(3), ["A"] * 3)
    part(tmp_path / "test.h5", {"y": np.ones((3, 1))}, np.arange(3), ["A"] * 3)
    with pytest.raises(UserError, match="different features"):
        audit_of(tmp_path)


_AUDIT = """
import resource, sys
from pathlib import Path
from lit.trainer.audit_file import audited
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
audited(Path(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


def test_the_memory_of_an_audit_does_not_grow_with_the_file(tmp_path: Path) -> None:
    grown = []
    values = np.random.default_rng(0).normal(size=(1000, 40, 8)).astype(np.float32)
    for count in (16_000, 64_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        for name, samples in (("train", count), ("test", 1000)):
            part(folder / f"{name}.h5", {"y": np.ones((samples, 1))}, np.arange(samples), ["A"] * samples)
            with h5py.File(folder / f"{name}.h5", "r+") as file:
                data = file.create_dataset("x", (samples, 40, 8), np.float32, chunks=(51, 40, 8))
                for start in range(0, samples, 1000):
                    data[start : start + 1000] = values
        done = subprocess.run([sys.executable, "-c", _AUDIT, str(folder)], capture_output=True, text=True, check=True)
        grown.append(int(done.stdout))
    file_grew = 48_000 * 40 * 8 * 4 / 1024
    assert grown[1] - grown[0] < file_grew / 4, grown
