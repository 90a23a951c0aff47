"""Regression: metrics equal their textbook values, and every run says whether it beats "nothing changes"."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lit.features.library import load_features, save_feature
from lit.streams.workspace import Workspace
from lit.trainer.experiments import train
from lit.trainer.metrics import Baseline, evaluate
from lit.trainer.persistence import joined, last_known
from lit.trainer.runfolder import RunFolder
from tests.training import canvas

SECOND = 1_000_000_000
SAMPLES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=25)


@settings(max_examples=100, deadline=None)
@given(SAMPLES, SAMPLES, st.integers(0, 9))
def test_the_last_known_label_is_the_one_that_searching_by_hand_finds(
    before: list[tuple[int, int]], asked: list[tuple[int, int]], horizon: int
) -> None:
    def samples(of: list[tuple[int, int]], first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        table = np.array(of, np.int64).reshape(-1, 2)
        return table[:, 0] * SECOND, table[:, 1], np.arange(first, first + len(of), dtype=np.float32)[:, None]

    known = joined(samples(before, 0), samples(asked, len(before)))
    found = last_known(known, samples(asked, len(before)), horizon)
    everything = [*before, *asked]
    for (time, symbol), value in zip(asked, found[:, 0], strict=True):
        usable = [(t, n) for n, (t, s) in enumerate(everything) if s == symbol and t + horizon <= time]
        assert value == max(usable)[1] if usable else np.isnan(value)


def test_metrics_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(size=(300, 1)).cumsum(axis=0).astype(np.float32)
    y = (same + rng.normal(size=same.shape)).astype(np.float32)
    p = np.round(same + 0.5 * (y - same) + rng.normal(0, 0.3, same.shape), 1).astype(np.float32)
    found = evaluate("regression", y, p, Baseline.of(y), persistence=same)
    assert found["correlation"] == pytest.approx(stats.pearsonr(y[:, 0], p[:, 0])[0])
    assert found["rank_correlation"] == pytest.approx(stats.spearmanr(y[:, 0], p[:, 0])[0])
    assert found["persistence_rmse"] == pytest.approx(np.sqrt(np.mean((same - y) ** 2)), rel=1e-5)
    assert found["persistence_skill"] == pytest.approx(1 - np.mean((p - y) ** 2) / np.mean((same - y) ** 2), rel=1e-5)
    assert found["direction"] == pytest.approx(np.mean((p > same) == (y > same)))
    assert 0.5 <= found["base_direction"] < found["direction"]
    nothing = evaluate("regression", y, same, Baseline.of(y), persistence=same)
    assert nothing["persistence_skill"] == 0 and nothing["r2"] > 0.5  # it looks well, and is worth nothing


def test_metrics_of_what_does_not_vary_and_of_what_is_not_known_are_numbers() -> None:
    y, flat = np.arange(6, dtype=np.float32)[:, None], np.ones((6, 1), np.float32)
    assert evaluate("regression", y, flat, Baseline.of(y))["rank_correlation"] == 0
    unknown = np.full_like(y, np.nan)
    assert "persistence_rmse" not in evaluate("regression", y, flat, Baseline.of(y), persistence=unknown)
    unknown[3:] = y[3:] + 1
    found = evaluate("regression", y, y, Baseline.of(y), persistence=unknown)
    assert (found["persistence_rmse"], found["persistence_skill"], found["direction"]) == (1, 1, 1)
    assert evaluate("regression", y, y, Baseline.of(y), persistence=y)["direction"] == 0


def test_a_run_on_a_price_is_compared_with_the_price_as_it_was_known(workspace: Workspace) -> None:
    save_feature(workspace, "next", "price_next_bars", {"count": 1, "size": 1, "unit": "minute"})
    (feature,) = load_features(workspace, ["next"])
    frozen = {"next": {"script": feature.script.name, "source": feature.script.source, "params": feature.params}}
    price = np.random.default_rng(1).normal(size=900).cumsum().astype(np.float32)
    folder = workspace.folder("assets", "small", "queue")
    for part, rows in (("train", np.arange(600)), ("test", np.arange(600, 880))):
        with h5py.File(folder / f"{part}.h5", "w") as file:
            file["now"], file["next"] = price[rows][:, None], price[rows + 1][:, None]
            file["index"], file["timestamp"] = rows, rows * 60 * SECOND
            file.create_dataset("symbol", data=["IBM"] * len(rows), dtype=h5py.string_dtype())
            file.attrs["schema"], file.attrs["digest"] = json.dumps({"features": frozen}), f"sha256:{part}"
    design = canvas(epochs=1, monitor="val_persistence_skill", loss="mse") | {"edges": []}
    design["nodes"] = [
        {"id": "now", "component": "Input", "properties": {"feature": "now"}},
        {"id": "dense", "component": "Dense", "properties": {"layers": "8"}},
        {"id": "out", "component": "Output", "properties": {"feature": "next", "activation": "linear"}},
        design["nodes"][-1],
    ]
    design["edges"] = [{"source": "now", "target": "dense"}, {"source": "dense", "target": "out"}]
    done = train(workspace, design)
    assert done.status == "finished", done
    (row,) = RunFolder.find(workspace, "volume", done.run).perf()
    # the price of the next minute is known two minutes on: the guess is the price of the minute before
    expected = np.sqrt(np.mean((price[599:879] - price[601:881]) ** 2))
    assert row["val_persistence_rmse"] == pytest.approx(expected, rel=1e-4)
    assert row["val_persistence_skill"] == pytest.approx(1 - (row["val_rmse"] / expected) ** 2, rel=1e-3)
    assert {"val_direction", "val_correlation", "val_rank_correlation", "rank_correlation"} <= row.keys()
    assert "persistence_rmse" not in row
