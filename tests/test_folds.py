"""Folds in time: no training label overlaps with one that it is judged by, and runs train on just their fold."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from lit.cli import app
from lit.features.library import load_features, save_feature
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import experiments
from lit.trainer.canvas import parse_canvas, save_canvas
from lit.trainer.folds import Fold, rows_of
from lit.trainer.runfolder import RunFolder
from tests.training import canvas, train_here, write_asset

SECOND = 1_000_000_000
TIMES = st.lists(st.integers(0, 400), min_size=1, max_size=120).map(lambda each: np.array(each, np.int64) * SECOND // 2)


@given(TIMES, st.integers(2, 5), st.integers(0, 20), st.integers(0, 20), st.sampled_from(["walk", "purged"]))
def test_no_training_label_overlaps_with_a_validation_label(
    times: np.ndarray, count: int, horizon: int, embargo: int, kind: str
) -> None:
    judged: list[int] = []
    for number in range(1, count + 1):
        try:
            train, validation = rows_of(Fold(number, count, horizon, embargo, kind), times)
        except UserError:
            continue
        judged += validation.tolist()
        apart = np.abs(times[train][:, None] - times[validation])
        assert (apart > (horizon + embargo) * SECOND).all()
        if kind == "walk":
            assert times[train].max() < times[validation].min()
        assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    assert len(judged) == len(set(judged))


@given(st.permutations(range(60)), st.integers(2, 6))
def test_without_horizon_nothing_is_wasted(order: list[int], count: int) -> None:
    times = np.array(order, np.int64) * SECOND
    walked = [rows_of(Fold(number, count, 0), times) for number in range(1, count + 1)]
    assert sum(len(validation) for _, validation in walked) == 60 - 60 // (count + 1)
    for train, validation in walked:
        assert len(train) == times[validation].min() // SECOND
    purged = [rows_of(Fold(number, count, 0, kind="purged"), times) for number in range(1, count + 1)]
    assert all(len(train) + len(validation) == 60 for train, validation in purged)
    assert sorted(row for _, validation in purged for row in validation) == list(range(60))


def test_what_cannot_be_is_said() -> None:
    times = np.arange(100, dtype=np.int64) * SECOND
    for fold, words in (
        (Fold(1, 1, 0), "fold 1 of 1"),
        (Fold(1, 2, -1), "horizon is -1"),
        (Fold(1, 2, 0, kind="random"), "'random'"),
        (Fold(1, 4, 1000), "no samples to train on"),
    ):
        with pytest.raises(UserError, match=words):
            rows_of(fold, times)
    with pytest.raises(UserError, match="no samples to validate on"):
        rows_of(Fold(1, 2, 0), np.zeros(9, np.int64))


def test_a_series_of_runs_trains_each_on_its_fold(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    train_here(monkeypatch)
    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    write_asset(workspace, train=120, test=10)  # a sample a minute
    save_canvas(workspace, parse_canvas(canvas(epochs=1)))
    done = lit("train", "up", "--team", workspace.team, "--folds", "2", "--horizon", "600", "--json")
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    assert [record["status"] for record in result["runs"]] == ["finished"] * 2
    found = [RunFolder.find(workspace, "volume", number) for number in (1, 2)]
    assert [folder.read_json("features.json")["asset"]["samples"] for folder in found] == [
        {"train": 30, "test": 40},  # the first 40 but those within ten minutes of the fortieth
        {"train": 70, "test": 40},
    ]
    losses = [record["metrics"]["val_loss"] for record in result["runs"]]
    assert result["metrics"]["val_loss"]["mean"] == pytest.approx(np.mean(losses))
    assert result["metrics"]["val_loss"]["deviation"] == pytest.approx(np.std(losses, ddof=1))
    refused = lit("train", "up", "--team", workspace.team, "--folds", "2")
    assert isinstance(refused.exception, UserError) and "--horizon" in str(refused.exception)


def test_how_far_the_label_looks_ahead_is_read_off_its_script(workspace: Workspace) -> None:
    write_asset(workspace, train=20, test=10)
    with pytest.raises(UserError, match="'up' looks ahead is not known"):
        experiments.label_horizon(workspace, parse_canvas(canvas()))
    save_feature(workspace, "up", "price_next_bars", {"count": 2, "size": 1, "unit": "minute"})
    (feature,) = load_features(workspace, ["up"])
    frozen = {"up": {"script": feature.script.name, "source": feature.script.source, "params": feature.params}}
    for part in ("train", "test"):
        with h5py.File(workspace.path("assets", "small", "queue") / f"{part}.h5", "r+") as file:
            file.attrs["schema"] = json.dumps({"features": frozen})
    assert experiments.label_horizon(workspace, parse_canvas(canvas())) == 180


def lit(*arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments])
