"""Volume-weighted average price, and the same relative to the last close.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 20-minute VWAP for [30] minutes
rate : integer >= 1, default 20
    Bars that each average is over; e.g. [20]-minute VWAP
size : integer >= 1, default 1
    Units in a bar; e.g. 20 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 20 1-[minute] bars

Returns
-------
[ vwap, vwap_normalized ]

Notes
-----
A bar counts with its typical price (high + low + close) / 3. A window without volume rejects the sample.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import rolling_sum


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
    count, rate = params.get("count", 30), params.get("rate", 20)
    return rate, count + rate - 1, (params.get("unit", "minute"), params.get("size", 1))


def _lines(bars, rate):
    high, low, close, volume = (bars[..., column] for column in (1, 2, 3, 5))
    turnover, total = rolling_sum((high + low + close) / 3 * volume, rate), rolling_sum(volume, rate)
    vwap = np.where(total > 0, turnover / np.where(total > 0, total, 1.0), np.nan)
    return np.stack([vwap, vwap - close[..., -1:]], axis=-1)
