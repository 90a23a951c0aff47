"""Imbalance bars: a bar closes once more was bought than sold (or sold than bought) than was to be expected.

López de Prado, M. (2018), *Advances in Financial Machine Learning*, section 2.3.2.1 (tick, volume and dollar imbalance
bars). Compiled, in order of trades: the same trades give the same bits, however many samples are computed at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from lit.plugins.traders.indicators import tick_rule

Array = npt.NDArray[np.float64]
#: What a trade weighs: itself, its size, its worth.
WEIGHTS = ("tick", "volume", "dollar")
#: Open, high, low, close, trades, volume, mean and largest trade, and the imbalance that closed the bar.
COLUMNS = 9
#: The expected size of a bar stays within its first value over this and times this; else bars may run away.
_FACTOR = 10.0


def imbalance_bars(price: Array, volume: Array, by: str, size: float, span: float) -> Array:
    """Form imbalance bars of consecutive trades.

    Parameters
    ----------
    price, volume
        The trades, (n,). The first only gives the second its sign; the next `size` tell what to expect at first.
    by
        One of `WEIGHTS`.
    size
        Trades that a bar is expected to have at first.
    span
        Bars that the moving averages of what to expect reach back to: they weigh the newest by 2 / (span + 1).

    Returns
    -------
    ndarray
        float64 (bars, 9): `COLUMNS`; only bars that closed.
    """
    if len(price) < 2:
        return np.empty((0, COLUMNS))
    signs, price, volume = tick_rule(price), price[1:], volume[1:]
    weight = np.ones(len(price)) if by == "tick" else volume if by == "volume" else volume * price
    return _form(price, volume, signs * weight, int(size), 2.0 / (span + 1.0))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _form(price, volume, flow, size, alpha):  # type: ignore[no-untyped-def]
    out = np.empty((len(price), 9))
    closed = 0
    warm = min(size, len(price))
    total = 0.0
    for i in range(warm):
        total += flow[i]
    expected_flow, expected_size = total / max(warm, 1), float(size)
    first, theta, traded, largest = warm, 0.0, 0.0, 0.0
    high, low = 0.0, 0.0
    for i in range(warm, len(price)):
        if i == first:
            high, low, theta, traded, largest = price[i], price[i], 0.0, 0.0, 0.0
        high, low, largest = max(high, price[i]), min(low, price[i]), max(largest, volume[i])
        theta += flow[i]
        traded += volume[i]
        if abs(theta) < expected_size * abs(expected_flow) or theta == 0.0:
            continue
        count = float(i + 1 - first)
        out[closed, 0], out[closed, 1], out[closed, 2], out[closed, 3] = price[first], high, low, price[i]
        out[closed, 4], out[closed, 5], out[closed, 6], out[closed, 7] = count, traded, traded / count, largest
        out[closed, 8] = theta
        closed += 1
        first = i + 1
        expected_flow += alpha * (theta / count - expected_flow)
        expected_size += alpha * (count - expected_size)
        expected_size = min(max(expected_size, size / _FACTOR), size * _FACTOR)
    return out[:closed].copy()
