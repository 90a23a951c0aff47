"""Bollinger bands: the average of closing prices, lines some deviations around it, and where the close lies.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 20-minute bands for [30] minutes
rate : integer >= 2, default 20
    Bars that average and deviation are over; e.g. [20]-minute bands
width : number > 0, default 2
    Deviations from the average to a band; e.g. [2]
size : integer >= 1, default 1
    Units in a bar; e.g. 20 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 20 1-[minute] bars

Returns
-------
[ lower, middle, upper, position ]

Notes
-----
`position` is -1 on the lower band, 1 on the upper one, 0 where all prices are equal.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import rolling_deviation, rolling_mean


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    rate, width, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _lines(bars, rate, width) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    rate, width, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _lines(bars[keep], rate, width)


def _read(params):
    count, rate = params.get("count", 30), params.get("rate", 20)
    return rate, params.get("width", 2), count + rate - 1, (params.get("unit", "minute"), params.get("size", 1))


def _lines(bars, rate, width):
    close = bars[..., 3]
    middle, reach = rolling_mean(close, rate), width * rolling_deviation(close, rate)
    apart = close[..., rate - 1 :] - middle
    position = np.where(reach > 0, apart / np.where(reach > 0, reach, 1.0), 0.0)
    return np.stack([middle - reach, middle, middle + reach, position], axis=-1)
