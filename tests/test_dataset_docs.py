"""The recipes of docs/datasets.md run as they stand, on a dataset that a build made; its options do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from tests.builds import built, script_feature
from tests.tape import real_ticks
from tests.test_incremental import BATCHED, LABEL

RECIPES = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parent.parent / "docs" / "datasets.md").read_text(), re.DOTALL
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    features = [script_feature("bars", BATCHED, {"n": 3}), script_feature("label", LABEL, {"n": 1})]
    built(folder, [("IBM.N", real_ticks("IBM.N", 1).slice(0, 6000))], features)
    return folder


@pytest.mark.parametrize("upto", [1, 2, 3], ids=["h5py", "pandas", "keras"])
def test_a_recipe_runs_as_it_stands_in_two_lines(folder: Path, monkeypatch: pytest.MonkeyPatch, upto: int) -> None:
    assert len(RECIPES) == 3 and all(len(recipe.strip().splitlines()) == 2 for recipe in RECIPES)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"h5py": h5py, "pd": pd}
    if upto == 3:
        from lit.trainer.backend import load

        _, keras = load()
        names["model"] = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
        names["model"].compile("sgd", "mse")  # type: ignore[attr-defined]
    for recipe in RECIPES[:upto]:
        exec(recipe, names)
    if upto == 1:
        assert np.shape(names["bars"]) == (256, 3, 8) and np.shape(names["label"]) == (256, 1)
    if upto == 2:
        frame = names["frame"]
        assert isinstance(frame, pd.DataFrame) and len(frame) > 1000
        assert list(frame.columns) == [*(f"bars_{n}" for n in range(8)), "label"]


@pytest.mark.parametrize("compression", ["none", "lzf", "gzip"])
def test_storage_is_as_the_schema_says_and_leaves_the_content_alone(tmp_path: Path, compression: str) -> None:
    files = [("IBM.N", real_ticks("IBM.N", 1).slice(0, 3000))]
    features = [script_feature("bars", BATCHED, {"n": 3})]
    plain = built(tmp_path / "plain", files, features, dtype="float64")
    parts = built(tmp_path / "own", files, features, dtype="float64", compression=compression, chunk_rows=7)
    assert parts == plain
    with h5py.File(tmp_path / "own" / "train.h5") as file:
        assert file["bars"].chunks == (7, 3, 8) and file["bars"].dtype == np.float64
        assert file["bars"].compression == (None if compression == "none" else compression)
        assert str(file.attrs["digest"]).startswith("sha256:") and '"chunk_rows"' in file.attrs["schema"]
