"""Assets read by the SDK: in pieces, shuffled the same way each run, and never believed without a look."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.sdk.data.asset import load_asset
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset
from lit.trainer.shuffle import BLOCK_ROWS, EpochOrder, Shard
from tests.training import write_asset, write_part


@pytest.fixture
def team(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    write_asset(workspace)
    return workspace


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "train.h5"
    write_part(path, {"atr": (np.arange(20, dtype=np.float32).reshape(10, 2), ["a", "b"])})
    return path


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 3000),
    st.integers(1, 3000),
    st.integers(1, 4),
    st.integers(0, 5),
    st.integers(1, 97),
    st.data(),
)
def test_an_epoch_of_any_number_of_workers_meets_each_sample_once(
    count: int, window: int, workers: int, epoch: int, batch: int, data: st.DataObject
) -> None:
    chosen = None
    if data.draw(st.booleans()):
        chosen = np.flatnonzero(np.random.default_rng(count).random(count) < 0.5)
    expected = np.arange(count) if chosen is None else chosen
    orders = [
        EpochOrder(count if chosen is None else chosen, 3, epoch, window, Shard(number, workers))
        for number in range(workers)
    ]
    met = [np.concatenate([np.empty(0, np.int64), *order.windows()]) for order in orders]
    assert [len(part) for part in met] == [len(order) for order in orders]
    assert np.sort(np.concatenate(met)).tolist() == expected.tolist()
    assert all(len(held) <= max(window, 1) for order in orders for held in order.windows())
    for order, part in zip(orders, met, strict=True):
        for start in range(0, len(order), batch):
            assert order.rows(start, start + batch).tolist() == part[start : start + batch].tolist()


def test_batches_are_spread_over_the_file_as_well_as_the_documentation_says() -> None:
    """The mean row of a batch varies as that of a sample of the documented effective size, within a quarter."""
    count, window, batch = 400_000, 40 * BLOCK_ROWS, 64
    means = [
        rows.mean()
        for epoch in range(3)
        for held in EpochOrder(count, 0, epoch, window).windows()
        for rows in np.split(held[: len(held) // batch * batch], len(held) // batch)
    ]
    chance = (BLOCK_ROWS - 1) / (window - 1)
    documented = batch / (1 + (batch - 1) * chance)
    assert (count**2 / 12) / np.var(means) == pytest.approx(documented, rel=0.25)
    assert documented > 0.35 * batch


def test_numpy_and_pandas_in_two_lines(team: Workspace) -> None:
    train = load_asset("demo", "small")
    volume = train.read("bars", 0, 100)[:, -1, 5]
    assert volume.shape == (100,) and len(train) == 600
    frame = train.frame(["up"], 5, 8)
    assert list(frame.columns) == ["index", "timestamp", "symbol", "up.label"]
    assert frame.index.tolist() == [5, 6, 7] and frame["symbol"].tolist() == ["IBM"] * 3
    assert str(frame["timestamp"].dtype).startswith("datetime64[ns, UTC")
    bars = train.frame("bars", 5, 7)
    assert bars.index.names == ["sample", "row"] and list(bars.columns)[:4] == ["open", "high", "low", "close"]
    assert bars.loc[(6, 19), "close"] == train.read("bars", 6, 7)[0, 19, 3]
    with pytest.raises(UserError, match=r"frame\('bars'\)"):
        train.frame(["up", "bars"])
    with h5py.File(team.path("assets", "small", "queue") / "train.h5") as file:
        assert file["bars"][:].shape == (600, 20, 8)


def test_tf_data_yields_each_sample_once_a_pass_in_an_order_that_each_run_repeats(team: Workspace) -> None:
    train = load_asset("demo", "small")
    dataset = train.dataset(["bars"], 64, label="up", buffer_bytes=200_000)

    def opens(pass_of: object) -> list[float]:
        found = [(x["bars"].numpy()[:, 0, 0], y.numpy()) for x, y in pass_of]  # type: ignore[attr-defined]
        assert [len(y) for _, y in found[:-1]] == [64] * (len(found) - 1)
        return np.concatenate([x for x, _ in found]).tolist()

    first, second = opens(dataset), opens(dataset)
    assert sorted(first) == sorted(second) == sorted(train.read("bars")[:, 0, 0].tolist())
    assert first != second and first != train.read("bars")[:, 0, 0].tolist()
    again = train.dataset(["bars"], 64, label="up", buffer_bytes=200_000)
    assert (opens(again), opens(again)) == (first, second)
    in_order = train.dataset(["bars"], 64, shuffle=False)
    assert np.concatenate([one["bars"][:, 0, 0] for one in in_order]).tolist() == train.read("bars")[:, 0, 0].tolist()


def test_keras_trains_from_both_feeds(team: Workspace) -> None:
    from lit.trainer.backend import load

    _, keras = load()
    train = load_asset("demo", "small")
    inputs = keras.Input((20, 8), name="bars")
    model = keras.Model({"bars": inputs}, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile("sgd", "mse")
    model.fit(train.dataset(["bars"], 64, label="up"), epochs=2, verbose=0)
    sequence = train.sequence(["bars"], "up", 64, workers=2)
    model.fit(sequence, epochs=2, verbose=0)
    assert len(sequence) == 10
    met = np.concatenate([sequence[number][0]["bars"][:, 0, 0] for number in range(10)])
    assert np.sort(met).tolist() == np.sort(train.read("bars")[:, 0, 0]).tolist()


def test_the_recipes_of_the_guide_run_as_they_stand(team: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from lit.trainer.backend import load

    _, keras = load()
    inputs = keras.Input((20, 8), name="bars")
    model = keras.Model({"bars": inputs}, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile("sgd", "mse")
    monkeypatch.chdir(team.path("assets", "small", "queue"))
    guide = Path(__file__).parents[1].joinpath("docs", "assets.md").read_text("utf-8")
    recipes = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    names: dict[str, object] = {"model": model}
    for recipe in recipes:
        assert len(recipe.strip().splitlines()) <= 2
        exec(recipe, names)
    assert len(recipes) == 7 and names["frame"].shape == (600, 4)  # type: ignore[attr-defined]
    assert names["close"].shape == (600,) and len(names["rows"]) == 600  # type: ignore[arg-type,attr-defined]


def test_symbols_and_times_are_selected(tmp_path: Path) -> None:
    path = tmp_path / "train.h5"
    write_part(path, {"atr": (np.arange(6, dtype=np.float32)[:, None], ["atr"])})
    with h5py.File(path, "r+") as file:
        del file["symbol"]
        names = ["ÄÖ.DE", "株式 7203.T", "ÄÖ.DE", "IBM", "株式 7203.T", "IBM"]
        file.create_dataset("symbol", data=names, dtype=h5py.string_dtype("utf-8"))
    with Asset(path) as asset:
        assert asset.read("symbol").tolist() == names
        assert asset.rows(["株式 7203.T"]).tolist() == [1, 4]
        times = asset.read("timestamp")
        assert asset.rows("IBM", since=int(times[4])).tolist() == [5]
        assert (
            asset.rows(until="2016-04-07T03:35:00Z").tolist()
            == [0, 1, 2, 3, 4, 5][: int((times < 1460000100 * 10**9).sum())]
        )
        chosen = asset.rows(["IBM", "ÄÖ.DE"])
        met = [b["atr"] for b in asset.batches(["atr"], 2, seed=1, epoch=0, rows=chosen)]
        assert sorted(np.concatenate(met)[:, 0].tolist()) == [0, 2, 3, 5]
        with pytest.raises(UserError, match="'MSFT' is not in"):
            asset.rows(["MSFT"])
        with pytest.raises(UserError, match="no ISO time"):
            asset.rows(since="yesterday")
        with pytest.raises(UserError, match="no sample"):
            asset.rows(since="2031-01-01")


_STREAM = """
import resource, sys
from pathlib import Path
from lit.trainer.asset import Asset
asset = Asset(Path(sys.argv[1]))
total = 0
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for epoch in range(2):
    for batch in asset.batches(["bars"], 64, seed=0, epoch=epoch, buffer_bytes=8_000_000):
        total += len(batch["bars"])
print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    grown = []
    for count in (10_000, 80_000):
        path = tmp_path / f"{count}.h5"
        values = np.random.default_rng(0).normal(size=(1000, 40, 8)).astype(np.float32)
        with h5py.File(path, "w") as file:
            data = file.create_dataset("bars", (count, 40, 8), np.float32, chunks=(51, 40, 8))
            for start in range(0, count, 1000):
                data[start : start + 1000] = values
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(_STREAM), str(path)], capture_output=True, text=True, check=True
        )
        total, kilobytes = map(int, done.stdout.split())
        assert total == 2 * count
        grown.append(kilobytes)
    file_grew = 70_000 * 40 * 8 * 4 / 1024
    assert grown[1] - grown[0] < file_grew / 10, grown


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 60),
    st.sampled_from([(), (3,), (4, 2)]),
    st.integers(1, 17),
    st.sampled_from(["<f4", "<f8", ">f4", "<i2"]),
    st.booleans(),
    st.sampled_from(["gzip", "lzf", None]),
    st.data(),
)
def test_several_threads_unpack_what_one_reads(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    shape: tuple[int, ...],
    piece: int,
    dtype: str,
    shuffle: bool,
    compression: str | None,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("pieces") / "x.h5"
    rng = np.random.default_rng(count)
    with h5py.File(path, "w") as file:
        options = {"chunks": (piece, *shape), "shuffle": shuffle, "compression": compression}
        wanted = file.create_dataset("x", (count, *shape), dtype, maxshape=(None, *shape), fillvalue=3, **options)
        written = data.draw(st.integers(0, count))  # what is behind is never written
        wanted[:written] = rng.integers(-99, 99, (written, *shape))
        whole = wanted[:].astype(np.float32)
    rows = rng.permutation(count)[: data.draw(st.integers(0, count))]
    with Asset(path) as one, Asset(path, workers=3) as several:
        np.testing.assert_array_equal(several.take(["x"], rows)["x"], whole[rows])
        for a, b in zip(*(x.batches(["x"], 7, seed=1, epoch=2) for x in (one, several)), strict=True):
            assert a["x"].tobytes() == b["x"].tobytes()


def test_an_open_asset_stays_what_it_is_when_its_file_is_replaced(small: Path) -> None:
    with Asset(small) as asset:
        draft = small.with_name("draft.h5")
        write_part(draft, {"other": (np.zeros((3, 1), np.float32), ["zero"])}, "sha256:new")
        draft.replace(small)
        assert asset.digest == "sha256:train" and asset.read("atr")[-1].tolist() == [18, 19]
    with Asset(small) as asset:
        assert asset.digest == "sha256:new"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("external link", "is a link"),
        ("soft link", "is a link"),
        ("virtual", "data outside"),
        ("external data", "data outside"),
        ("group", "is a group"),
        ("claim", "almost nothing of it is stored"),
        ("wide", "a sample of"),
        ("scalar", "1 to 3 axes"),
        ("compound", "neither numbers nor text"),
    ],
)
def test_files_that_lead_elsewhere_or_claim_too_much_are_refused(small: Path, name: str, reason: str) -> None:
    other = small.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones((10, 2))
    with h5py.File(small, "r+") as file:
        if name == "external link":
            file["x"] = h5py.ExternalLink(str(other), "/secret")
        elif name == "soft link":
            file["x"] = h5py.SoftLink("/atr")
        elif name == "virtual":
            layout = h5py.VirtualLayout((10, 2), np.float32)
            layout[:] = h5py.VirtualSource(other, "secret", (10, 2))
            file.create_virtual_dataset("x", layout)
        elif name == "external data":
            file.create_dataset("x", (10, 2), np.float32, external=[(str(other), 0, h5py.h5f.UNLIMITED)])
        elif name == "group":
            file.create_group("x")
        elif name == "claim":
            file.create_dataset("x", (10**12, 4), np.float32, chunks=(1024, 4))
        elif name == "wide":
            file.create_dataset("x", (10, 10**9), np.float32, chunks=(1, 1024))
        elif name == "scalar":
            file["x"] = 1.0
        else:
            file["x"] = np.zeros(10, [("a", "f4")])
    with pytest.raises(UserError, match=re.escape(reason)):
        Asset(small)


def test_torn_and_corrupt_files_are_faults_in_one_sentence(small: Path) -> None:
    whole = small.read_bytes()
    for content in (b"", b"no HDF5", whole[: len(whole) // 2]):
        small.write_bytes(content)
        with pytest.raises(FaultError, match="build it again"):
            Asset(small)
    small.write_bytes(whole)
    with h5py.File(small, "r+") as file:
        file.create_dataset("zipped", data=np.arange(20_000.0).reshape(10, 2000), compression="gzip", fletcher32=True)
        offset = file["zipped"].id.get_chunk_info(0).byte_offset
    with small.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 64)
    with Asset(small) as asset, pytest.raises(FaultError, match="is damaged"):
        asset.read("zipped")
    with h5py.File(small, "r+") as file:
        del file["zipped"]
        file.create_dataset("zipped", data=np.arange(20_000.0).reshape(10, 2000), compression="gzip", chunks=(5, 2000))
        offset = file["zipped"].id.get_chunk_info(0).byte_offset
    with small.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * 64)
    with Asset(small, workers=2) as asset, pytest.raises(FaultError, match="is damaged"):
        asset.take(["zipped"], np.arange(10))
    small.write_bytes(whole)
    with h5py.File(small, "r+") as file:
        file["short"] = np.zeros((9, 1))
    with pytest.raises(FaultError, match="torn"):
        Asset(small)
    small.write_bytes(whole)
    with h5py.File(small, "r+") as file:
        file.attrs["schema"] = "{half"
    with pytest.raises(FaultError, match="damaged schema"):
        Asset(small)


def test_one_sample_and_none_are_read(tmp_path: Path) -> None:
    for count in (1, 0):
        path = tmp_path / f"{count}.h5"
        write_part(path, {"atr": (np.ones((count, 2), np.float32), ["a", "b"])})
        with Asset(path) as asset:
            assert sum(len(b["atr"]) for b in asset.batches(["atr"], 8, seed=0, epoch=0)) == count
            assert len(asset.frame()) == count and len(list(asset.chunks(["atr"]))) == count
