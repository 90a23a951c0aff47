"""Simple moving average of closing prices, and the same relative to the last close.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 10-day moving average for [30] days
rate : integer >= 1, default 10
    Bars that each average is over; e.g. [10]-day moving average for 30 days
size : integer >= 1, default 1
    Units in a bar; e.g. 10 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 10 1-[minute] bars

Returns
-------
[ sma, sma_normalized ]
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import rolling_mean


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    rate, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _lines(bars, rate) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    rate, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _lines(bars[keep], rate)


def _read(params):
    count, rate = params.get("count", 30), params.get("rate", 10)
    return rate, count + rate - 1, (params.get("unit", "minute"), params.get("size", 1))


def _lines(bars, rate):
    close = bars[..., 3]
    sma = rolling_mean(close, rate)
    return np.stack([sma, sma - close[..., -1:]], axis=-1)
