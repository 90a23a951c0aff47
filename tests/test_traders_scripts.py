"""The traders plugin's scripts: against independent computations, and batches against loops, bit for bit."""

from __future__ import annotations

import itertools
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
from lit.streams.tick import TickBlock, tick_block
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
    "ema": {"count": 2, "rate": 2},
    "rsi": {"count": 2, "rate": 2},
    "macd": {"count": 2, "fast": 1, "slow": 2, "signal": 1},
    "bollinger": {"count": 2, "rate": 3, "width": 1.5},
    "vwap": {"count": 2, "rate": 3},
    "obv": {"count": 4},
    "returns": {"count": 3},
    "log_returns": {"count": 3},
    "realised_volatility": {"count": 2, "rate": 3},
    "trade_imbalance": {"rate": 11},
    "imbalance_bar": {"count": 2, "by": "volume", "size": 2, "span": 2, "trades": 24},
    "time_of_day": {},
    "session": {},
    "symbol_number": {"symbols": "B, A"},
    "return_next_bars": {"count": 2},
    "triple_barrier": {"count": 3, "rate": 3, "up": 0.5},
}
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


NO_SECOND_BAR = {name: {"unit": "day"} for name in SMALL if name not in ("trade_imbalance", "imbalance_bar")}


@pytest.mark.parametrize("name", sorted(set(SMALL) - SAMPLERS - {"time_of_day", "session", "symbol_number"}))
def test_a_sample_with_too_little_data_around_it_is_rejected(name: str) -> None:
    short = DatasetAdapter.of_blocks([ticks().slice(0, 3)])
    assert Feature(name, script(name), NO_SECOND_BAR.get(name)).compute(short, 1, {}) is None


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


def closes(count: int) -> np.ndarray:
    return bars_before(MIDDAY, count)["close"].to_numpy()


def test_ema_is_pandas_average_and_settles_on_ta_lib_s() -> None:
    expected = pd.Series(closes(20 + 15)).ewm(span=5).mean().to_numpy()[-20:]
    got = values("ema", {"count": 20, "rate": 5}, MIDDAY)
    assert np.allclose(got[:, 0], expected, rtol=1e-12) and np.allclose(got[:, 1], expected - closes(1)[0])
    settled = values("ema", {"count": 250, "rate": 5}, MIDDAY)[-50:, 0]
    assert np.allclose(settled, talib.EMA(closes(265), 5)[-50:], rtol=1e-12)


def test_rsi_settles_on_ta_lib_s() -> None:
    got = values("rsi", {"count": 280, "rate": 6}, MIDDAY)[-60:, 0]
    assert np.allclose(got, talib.RSI(closes(299), 6)[-60:], rtol=1e-9)
    flat = DatasetAdapter.of_blocks([ticks_at([5.0] * 40)])
    value = Feature("rsi", script("rsi"), {"count": 2, "rate": 3}).compute(flat, 35, {})
    assert value is not None and (value == 50).all()


def test_macd_settles_on_ta_lib_s() -> None:
    got = values("macd", {"count": 300, "fast": 5, "slow": 9, "signal": 4}, MIDDAY)[-40:]
    expected = talib.MACD(closes(339), 5, 9, 4)
    assert np.allclose(got, np.stack(expected, axis=1)[-40:], atol=1e-10)


def test_bollinger_bands_are_ta_lib_s() -> None:
    got = values("bollinger", {"count": 30, "rate": 8, "width": 1.5}, MIDDAY)
    upper, middle, lower = talib.BBANDS(closes(60), 8, 1.5, 1.5)
    assert np.allclose(got[:, :3], np.stack([lower, middle, upper], axis=1)[-30:], atol=1e-7)
    assert np.allclose(got[:, 3], (closes(30) - got[:, 1]) / (got[:, 2] - got[:, 1]))


def test_vwap_weighs_typical_prices_with_volume() -> None:
    bars = bars_before(MIDDAY, 60)
    typical = (bars.high + bars.low + bars.close) / 3
    expected = ((typical * bars.volume).rolling(7).sum() / bars.volume.rolling(7).sum())[-30:]
    got = values("vwap", {"count": 30, "rate": 7}, MIDDAY)
    assert np.allclose(got[:, 0], expected) and np.allclose(got[:, 1], expected - bars.close.iloc[-1])


def test_obv_moves_as_ta_lib_s() -> None:
    bars = bars_before(MIDDAY, 31)
    expected = talib.OBV(bars.close.to_numpy(), bars.volume.to_numpy())
    assert np.allclose(values("obv", {"count": 30}, MIDDAY)[:, 0], (expected - expected[0])[1:])


def test_returns_are_pandas_changes_and_their_logarithms() -> None:
    changes = pd.Series(closes(31)).pct_change().to_numpy()[1:]
    assert np.allclose(values("returns", {"count": 30}, MIDDAY)[:, 0], changes, atol=1e-14)
    assert np.allclose(values("log_returns", {"count": 30}, MIDDAY)[:, 0], np.log1p(changes), atol=1e-14)


def test_realised_volatility_is_the_root_of_summed_squares() -> None:
    squares = pd.Series(closes(50)).pct_change().map(np.log1p) ** 2
    expected = np.sqrt(squares.rolling(9).sum())[-30:]
    assert np.allclose(values("realised_volatility", {"count": 30, "rate": 9}, MIDDAY)[:, 0], expected)


def test_trade_imbalance_counts_trades_above_and_below_the_last_price() -> None:
    price, volume = ticks().price[MIDDAY - 50 : MIDDAY + 1], ticks().volume[MIDDAY - 49 : MIDDAY + 1]
    signs = pd.Series(np.sign(np.diff(price))).replace(0, np.nan).ffill().fillna(0).to_numpy()
    got = values("trade_imbalance", {"rate": 50}, MIDDAY)
    assert np.allclose(got, [signs.mean(), (signs * volume).sum() / volume.sum()])


def imbalance_reference(price: list[float], volume: list[float], by: str, size: int, span: int) -> list[list[float]]:
    """Imbalance bars as section 2.3.2.1 of the book tells them, trade by trade."""
    signs: list[int] = []
    for before, now in itertools.pairwise(price):
        signs.append(1 if now > before else -1 if now < before else signs[-1] if signs else 0)
    trades = list(zip(signs, price[1:], volume[1:], strict=True))
    flow = [b * {"tick": 1.0, "volume": v, "dollar": v * p}[by] for b, p, v in trades]
    expected_flow, expected_size = sum(flow[:size]) / size, float(size)
    bars: list[list[float]] = []
    held: list[int] = []
    for t in range(size, len(flow)):
        held.append(t)
        theta = sum(flow[i] for i in held)
        if theta == 0 or abs(theta) < expected_size * abs(expected_flow):
            continue
        prices, sizes = [trades[i][1] for i in held], [trades[i][2] for i in held]
        bars.append([prices[0], max(prices), min(prices), prices[-1], len(held), sum(sizes)])
        bars[-1] += [sum(sizes) / len(held), max(sizes), theta]
        expected_flow += 2 / (span + 1) * (theta / len(held) - expected_flow)
        expected_size += 2 / (span + 1) * (len(held) - expected_size)
        expected_size = min(max(expected_size, size / 10), size * 10)
        held = []
    return bars


@pytest.mark.parametrize("by", ["tick", "volume", "dollar"])
def test_imbalance_bars_are_the_book_s(by: str) -> None:
    params = {"count": 8, "by": by, "size": 30, "span": 10, "trades": 2500}
    window = slice(MIDDAY - 2499, MIDDAY + 1)
    expected = imbalance_reference(ticks().price[window].tolist(), ticks().volume[window].tolist(), by, 30, 10)
    got = values("imbalance_bar", params, MIDDAY)
    assert got.shape == (8, 9) and np.allclose(got, expected[-8:], rtol=1e-9)
    assert len(expected) > 8 and (got[:, 8] != 0).all()


def test_time_of_day_is_the_exchange_s() -> None:
    noon = int(pd.Timestamp("2013-10-07 12:00", tz="America/New_York").value)
    data = DatasetAdapter.of_blocks([tick_block("A", 0, [noon, noon + 6 * 3600 * 10**9], [1.0, 1.0], [1.0, 1.0])])
    feature = Feature("t", script("time_of_day"))
    assert np.allclose([feature.compute(data, 0, {}), feature.compute(data, 1, {})], [[0, -1], [-1, 0]])


def test_session_marks_before_in_and_after_regular_hours() -> None:
    data = DatasetAdapter.of_blocks([tick_block("A", 0, [0, 1, 2], [1.0] * 3, [1.0] * 3, session=[1, 0, 2])])
    keep, value = Feature("s", script("session")).compute_batch(data, np.arange(3), {})
    assert keep.all() and np.array_equal(value, np.eye(3))


def test_return_next_bars_is_relative_to_this_trade() -> None:
    close = independent().get_bars(MIDDAY, 3, "minute", 1, future=True)[-1, 3]
    got = values("return_next_bars", {"count": 3}, MIDDAY)
    assert np.allclose(got, close / ticks().price[MIDDAY] - 1, rtol=1e-9)


def barrier_label(index: int, count: int, rate: int, up: float, down: float) -> float:
    """The label as the book tells it: walk on bar by bar until a barrier is met."""
    past = pd.Series(independent().get_bars(index, rate + 1, "minute", 1)[:, 3])
    deviation = float(np.sqrt((np.log(past / past.shift()) ** 2).mean() * count))
    price = ticks().price[index]
    for bar in independent().get_bars(index, count, "minute", 1, future=True):
        if bar[2] <= price * (1 - down * deviation):
            return -1.0
        if bar[1] >= price * (1 + up * deviation):
            return 1.0
    return 0.0


def test_triple_barrier_tells_which_barrier_is_met_first() -> None:
    params = {"count": 8, "rate": 20, "up": 0.8, "down": 0.7}
    feature = Feature("t", script("triple_barrier"), params)
    indices = [int(i) for i in some_indices(120) if feature.compute(adapter(), int(i), {}) is not None]
    labels = [float(values("triple_barrier", params, index)[0]) for index in indices]
    assert labels == [barrier_label(index, **params) for index in indices]
    assert set(labels) == {-1.0, 0.0, 1.0}


def ticks_at(prices: list[float]) -> TickBlock:
    """One trade a minute."""
    return tick_block("A", 0, np.arange(len(prices)) * 60 * 10**9, prices, [1.0] * len(prices))


def test_a_symbol_has_its_number_in_the_list_and_an_unknown_one_the_number_after() -> None:
    blocks = [tick_block(name, 0, [0], [1.0], [1.0]) for name in ("A", "B", "C")]
    feature = Feature("s", script("symbol_number"), {"symbols": "B,A"})
    values = [feature.compute(DatasetAdapter.of_blocks([block]), 0, {}) for block in blocks]
    assert [float(value[0]) for value in values if value is not None] == [1, 0, 2]
