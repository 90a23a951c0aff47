"""Exponential moving average of closing prices, and the same relative to the last close.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 10-day moving average for [30] days
rate : integer >= 1, default 10
    Span of the average, alpha = 2 / (rate + 1); e.g. [10]-day moving average for 30 days
size : integer >= 1, default 1
    Units in a bar; e.g. 10 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 10 1-[minute] bars

Returns
-------
[ ema, ema_normalized ]

Notes
-----
`3 * rate` bars before the line settle the average.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import ema


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, rate, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _lines(bars, count, rate) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, rate, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _lines(bars[keep], count, rate)


def _read(params):
    count, rate = params.get("count", 30), params.get("rate", 10)
    return count, rate, count + 3 * rate, (params.get("unit", "minute"), params.get("size", 1))


def _lines(bars, count, rate):
    close = bars[..., 3]
    line = ema(close, rate)[..., -count:]
    return np.stack([line, line - close[..., -1:]], axis=-1)
