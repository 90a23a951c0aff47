"""The traders plugin's scripts: against independent computations, and batches against loops, bit for bit."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.dataset import DatasetAdapter
from lit.features.feature import Feature
from lit.features.library import plugin_scripts
from lit.features.scripts import Script, load_script
from lit.streams.tick import TickBlock
from tests.polars_adapter import PolarsAdapter
from tests.tape import real_ticks, tapes

MINUTES = {"unit": "minute", "size": 1}
#: Small parameters for each script: what hypothesis runs it with.
SMALL: dict[str, dict[str, Any]] = {
    "unit_bar": {"count": 3},
    "sma": {"count": 2, "rate": 3},
    "atr": {"count": 2, "rate": 2},
    "atr_up": {"rate": 3},
    "price_next_bars": {"count": 2},
    "per_unit": {},
}
LABELS = {"atr_up", "price_next_bars"}
SAMPLERS = {"per_unit"}


@lru_cache
def script(name: str) -> Script:
    return load_script(next(path for plugin, path in plugin_scripts() if (plugin, path.stem) == ("traders", name)))


@lru_cache(maxsize=1)
def ticks() -> TickBlock:
    return real_ticks("BAC.N", days=2)


@lru_cache(maxsize=1)
def adapter() -> DatasetAdapter:
    return DatasetAdapter.of_blocks([ticks()])


@lru_cache(maxsize=1)
def independent() -> PolarsAdapter:
    return PolarsAdapter(ticks())


def some_indices(count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ends = [0, 1, 500, len(ticks()) - 500, len(ticks()) - 2, len(ticks()) - 1]
    return np.unique([*rng.integers(0, len(ticks()), count), *ends])


def values(name: str, params: dict[str, Any], index: int) -> np.ndarray:
    """What the script computes at an index of the real ticks, over the platform's own adapter."""
    value = Feature(name, script(name), params).compute(adapter(), index, {})
    assert value is not None
    return value


def bars_before(index: int, count: int) -> pd.DataFrame:
    """Minute bars from the independent adapter, as far back as asked for."""
    columns = ["open", "high", "low", "close", "trades", "volume", "mean", "max"]
    return pd.DataFrame(independent().get_bars(index, count, "minute", 1), columns=columns)


def same_by_loop_and_batch(feature: Feature, data: Any, indices: np.ndarray) -> int:
    """Check that both ways keep the same samples with the same bytes; return how many were kept."""
    keep, batched = feature.compute_batch(data, indices, {})
    loop = [feature.compute(data, int(index), {}) for index in indices]
    assert keep.tolist() == [value is not None for value in loop]
    kept = [value for value in loop if value is not None]
    assert b"".join(value.tobytes() for value in kept) == batched.tobytes()
    assert all(value.shape == batched.shape[1:] for value in kept)
    return len(kept)


# --- every script -------------------------------------------------------------------------------------------------


def test_every_script_is_in_these_tests() -> None:
    assert {path.stem for plugin, path in plugin_scripts() if plugin == "traders"} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_the_docstring_names_columns_and_its_defaults_are_those_of_the_code(name: str) -> None:
    loaded = script(name)
    assert loaded.summary and loaded.columns and all(field.help for field in loaded.form.fields)
    bare, filled = Feature(name, loaded), Feature(name, loaded, loaded.form.defaults)
    bare.params = {}
    index = len(ticks()) // 2 + int(np.argmax(np.diff(ticks().timestamp[len(ticks()) // 2 :] // (60 * 10**9)) > 0))
    first, second = bare.compute(adapter(), index, {}), filled.compute(adapter(), index, {})
    assert first is not None and second is not None and first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_batch_equals_the_loop_on_any_tape(name: str, data: st.DataObject) -> None:
    tape = data.draw(tapes(min_size=1))
    units = next((f.choices for f in script(name).form.fields if f.name == "unit"), None)
    interval = {"unit": data.draw(st.sampled_from(units)), "size": data.draw(st.integers(1, 40))} if units else {}
    feature = Feature(name, script(name), SMALL[name] | interval)
    same_by_loop_and_batch(feature, DatasetAdapter.of_blocks([tape]), np.arange(len(tape)))


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_equals_the_loop_on_real_ticks(name: str) -> None:
    indices = np.arange(60_000, 60_400) if name in SAMPLERS else some_indices(60)
    assert same_by_loop_and_batch(Feature(name, script(name)), adapter(), indices) > 0


@pytest.mark.parametrize("name", SMALL)
def test_a_script_computes_the_same_over_an_adapter_of_other_making(name: str) -> None:
    feature = Feature(name, script(name), SMALL[name])
    indices = np.arange(60_000, 60_400) if name in SAMPLERS else some_indices(30)
    for index in indices.tolist():
        ours, other = feature.compute(adapter(), index, {}), feature.compute(independent(), index, {})
        assert (ours is None) == (other is None)
        assert ours is None or np.allclose(ours, other, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(SMALL) - SAMPLERS))
def test_a_sample_with_too_little_data_around_it_is_rejected(name: str) -> None:
    short = DatasetAdapter.of_blocks([ticks().slice(0, 3)])
    assert Feature(name, script(name), {"unit": "day"}).compute(short, 1, {}) is None


# --- one by one, against independent computations -----------------------------------------------------------------

MIDDAY = 70_000


def test_unit_bar_is_the_bars_before_this_one() -> None:
    assert np.allclose(values("unit_bar", {"count": 30}, MIDDAY), bars_before(MIDDAY, 30), rtol=1e-12)


def test_sma_is_ta_lib_s_and_its_distance_from_the_last_close() -> None:
    close = bars_before(MIDDAY, 60)["close"].to_numpy()
    expected = talib.SMA(close, 7)[-30:]
    got = values("sma", {"count": 30, "rate": 7}, MIDDAY)
    assert np.allclose(got[:, 0], expected) and np.allclose(got[:, 1], expected - close[-1])


def test_atr_is_pandas_smoothed_true_range_and_settles_on_ta_lib_s() -> None:
    bars = bars_before(MIDDAY, 20 + 3 * 5)
    before = bars["close"].shift()
    parts = [bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()]
    expected = pd.concat(parts, axis=1).max(axis=1).ewm(alpha=1 / 5).mean()[-20:]
    assert np.array_equal(values("atr", {"count": 20, "rate": 5}, MIDDAY)[:, 0], expected)
    long = bars_before(MIDDAY, 300)
    reference = talib.ATR(long["high"].to_numpy(), long["low"].to_numpy(), long["close"].to_numpy(), 5)
    assert np.allclose(values("atr", {"count": 250 - 15, "rate": 5}, MIDDAY)[-100:, 0], reference[-100:], rtol=1e-9)


#: How a user writes the label with pandas; the fourth parameter has a name of its own.
PANDAS_LABEL = """
    import pandas as pd
    from lit.plugins.traders.adapter import TradersBaseAdapter

    def feature(adapter: TradersBaseAdapter, index: int, params:dict={}, features:dict={}):
        size = params.get('size') or 1
        unit = params.get('unit') or 'sec'
        rate = params.get('rate') or 14
        data = adapter.get_bars(index-rate+1, rate, unit, size, future=True)
        if len(data) < rate:
            return []
        bars = pd.DataFrame(data[:, 1:4], columns=["high", "low", "close"])
        last = bars["close"].shift()
        spans = pd.DataFrame({"a": bars.high - bars.low, "b": (bars.high - last).abs(), "c": (bars.low - last).abs()})
        average = spans.max(axis=1).ewm(alpha=1 / rate).mean().values
        return [1.0 if average[-1] > average[-2] else 0.0]
    """


@pytest.mark.parametrize("params", [{"rate": 3, "unit": "minute"}, {"rate": 14, "unit": "min"}, {"unit": "sec"}])
def test_atr_up_is_the_label_that_users_write_with_pandas(params: dict[str, Any]) -> None:
    user = load_script(Path("label.py"), textwrap.dedent(PANDAS_LABEL))
    ours = Feature("ours", script("atr_up"), params)
    outcomes = []
    for index in some_indices(150).tolist():
        theirs = user.feature(adapter(), index, params, {})
        value = ours.compute(adapter(), index, {})
        assert (value is None) == (len(theirs) == 0)
        outcomes += [] if value is None else [(value.tolist(), theirs)]
    assert all(value == theirs for value, theirs in outcomes)
    assert {value[0] for value, _ in outcomes} == {0.0, 1.0}


def test_price_next_bars_is_a_close_to_come() -> None:
    future = independent().get_bars(MIDDAY, 3, "minute", 1, future=True)
    assert values("price_next_bars", {"count": 3}, MIDDAY).tolist() == [future[-1, 3]]


@pytest.mark.parametrize(("unit", "size"), [("second", 1), ("minute", 1), ("minute", 5), ("hour", 1)])
def test_per_unit_keeps_the_last_trade_of_each_unit(unit: str, size: int) -> None:
    stamps = pd.Series(pd.to_datetime(ticks().timestamp, utc=True))
    floors = stamps.dt.floor(f"{size}{ {'second': 's', 'minute': 'min', 'hour': 'h'}[unit] }")
    expected = np.flatnonzero((floors != floors.shift(-1)).to_numpy()[:-1])
    feature = Feature("per_unit", script("per_unit"), {"unit": unit, "size": size})
    keep, sampled = feature.compute_batch(adapter(), np.arange(len(ticks())), {})
    assert np.flatnonzero(keep).tolist() == expected.tolist() and (sampled == 1.0).all()
    assert feature.sort_key == 0


def test_per_unit_by_day_follows_the_exchange_s_midnight() -> None:
    days = pd.Series(pd.to_datetime(ticks().timestamp, utc=True)).dt.tz_convert("America/New_York").dt.date
    keep, _ = Feature("d", script("per_unit"), {"unit": "day"}).compute_batch(adapter(), np.arange(len(ticks())), {})
    assert np.flatnonzero(keep).tolist() == np.flatnonzero((days != days.shift(-1)).to_numpy()[:-1]).tolist()
