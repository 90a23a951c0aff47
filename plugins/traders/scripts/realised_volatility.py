"""Realised volatility: root of the sum of squared logarithmic returns over a window of bars.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 20-minute volatility for [30] minutes
rate : integer >= 1, default 20
    Bars in the window; e.g. [20]-minute volatility
size : integer >= 1, default 1
    Units in a bar; e.g. 20 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 20 1-[minute] bars

Returns
-------
[ volatility ]

Notes
-----
Andersen, T. G., Bollerslev, T. (1998), *Answering the Skeptics*. Not annualised.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import log_returns, rolling_sum


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    rate, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _line(bars, rate) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    rate, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _line(bars[keep], rate)


def _read(params):
    count, rate = params.get("count", 30), params.get("rate", 20)
    return rate, count + rate, (params.get("unit", "minute"), params.get("size", 1))


def _line(bars, rate):
    return np.sqrt(rolling_sum(log_returns(bars[..., 3]) ** 2, rate))[..., None]
