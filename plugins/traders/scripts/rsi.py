"""Relative strength index: how much of what prices moved they moved up, 0 to 100; 50 where none moved.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 14-minute RSI for [30] minutes
rate : integer >= 1, default 14
    Bars that the averages are over; e.g. [14]-minute RSI
size : integer >= 1, default 1
    Units in a bar; e.g. 14 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 14 1-[minute] bars

Returns
-------
[ rsi ]

Notes
-----
`3 * rate` bars before the line settle the averages. Wilder, J. W. (1978), *New Concepts in Technical Trading
Systems*.
"""

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import relative_strength


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, rate, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _line(bars, count, rate) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, rate, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _line(bars[keep], count, rate)


def _read(params):
    count, rate = params.get("count", 30), params.get("rate", 14)
    return count, rate, count + 3 * rate + 1, (params.get("unit", "minute"), params.get("size", 1))


def _line(bars, count, rate):
    return relative_strength(bars[..., 3], rate)[..., -count:, None]
