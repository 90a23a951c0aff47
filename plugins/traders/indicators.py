"""Numerics of technical indicators, as scripts share them: pure NumPy over arrays whose last axis is time.

Each function takes one series (n,) or many at once (m, n), and gives the same bits either way: sums run in order of
time, never pairwise, so that neither the number of samples nor the memory layout can be seen in a result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rolling_sum(values: Array, rate: int) -> Array:
    """Return sums over `rate` consecutive values: (…, n) → (…, n - rate + 1)."""
    count = values.shape[-1] - rate + 1
    total = values[..., :count].copy()
    for shift in range(1, rate):
        total += values[..., shift : shift + count]
    return total


def rolling_mean(values: Array, rate: int) -> Array:
    """Return means over `rate` consecutive values: (…, n) → (…, n - rate + 1)."""
    return rolling_sum(values, rate) / rate


def weighted_mean(values: Array, alpha: float) -> Array:
    """Return the exponentially weighted mean of all values so far: (…, n) → (…, n).

    Weights fall by the factor 1 - alpha a step and are normalised, so the first values are means of what there is;
    the arithmetic is that of `pandas.Series.ewm(alpha=alpha).mean()`, in the same order of operations.
    """
    decay = 1.0 - 1.0 / (1.0 + (1.0 / alpha - 1.0))
    out = np.empty(values.shape)
    mean = out[..., 0] = values[..., 0]
    weight = 1.0
    for step in range(1, values.shape[-1]):
        weight *= decay
        now = values[..., step]
        mean = np.where(mean == now, mean, (weight * mean + now) / (weight + 1.0))
        weight += 1.0
        out[..., step] = mean
    return out


def wilder_mean(values: Array, rate: int) -> Array:
    """Return Wilder's moving average (alpha = 1 / rate) of all values so far: (…, n) → (…, n)."""
    return weighted_mean(values, 1.0 / rate)


def true_range(bars: Array) -> Array:
    """Return the true range of bars (…, n, columns) → (…, n); the first bar has no close before it: high - low."""
    high, low, close = bars[..., 1], bars[..., 2], bars[..., 3]
    ranges = high - low
    before = close[..., :-1]
    ranges[..., 1:] = np.maximum(
        ranges[..., 1:], np.maximum(np.abs(high[..., 1:] - before), np.abs(low[..., 1:] - before))
    )
    return ranges


def average_true_range(bars: Array, rate: int) -> Array:
    """Return the ATR (Wilder's average of true ranges) at each bar: (…, n, columns) → (…, n)."""
    return wilder_mean(true_range(bars), rate)


def ema(values: Array, rate: int) -> Array:
    """Return the exponential moving average (alpha = 2 / (rate + 1)): (…, n) → (…, n)."""
    return weighted_mean(values, 2.0 / (rate + 1))


def rolling_deviation(values: Array, rate: int) -> Array:
    """Return standard deviations (of the population) over `rate` values: (…, n) → (…, n - rate + 1)."""
    mean = rolling_mean(values, rate)
    count = mean.shape[-1]
    total = np.zeros(mean.shape)
    for shift in range(rate):
        total += (values[..., shift : shift + count] - mean) ** 2
    return np.asarray(np.sqrt(total / rate))


def log_returns(values: Array) -> Array:
    """Return the logarithms of values over those before: (…, n) → (…, n - 1)."""
    return np.log(values[..., 1:] / values[..., :-1])


def relative_strength(close: Array, rate: int) -> Array:
    """Return Wilder's RSI, 0…100: (…, n) → (…, n - 1); 50 where no price moved."""
    change = np.diff(close)
    gain = wilder_mean(np.maximum(change, 0.0), rate)
    total = gain + wilder_mean(np.maximum(-change, 0.0), rate)
    moved = total > 0
    return np.where(moved, 100.0 * gain / np.where(moved, total, 1.0), 50.0)


def tick_rule(price: Array) -> Array:
    """Return who began each trade but the first: 1 the buyer, -1 the seller: (…, n) → (…, n - 1).

    A price above the last says buyer, below says seller, an equal one says what the trade before said; 0 until
    a price has changed. Lee, C., Ready, M. (1991), *Inferring Trade Direction from Intraday Data*.
    """
    signs = np.sign(np.diff(price))
    for step in range(1, signs.shape[-1]):
        now = signs[..., step]
        signs[..., step] = np.where(now == 0, signs[..., step - 1], now)
    return signs
