"""Logarithmic returns of closing prices, bar by bar.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. returns of the last [30] minutes
size : integer >= 1, default 1
    Units in a bar; e.g. 30 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 30 1-[minute] bars

Returns
-------
[ log_return ]
"""

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import log_returns


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _line(bars) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _line(bars[keep])


def _read(params):
    return params.get("count", 30) + 1, (params.get("unit", "minute"), params.get("size", 1))


def _line(bars):
    return log_returns(bars[..., 3])[..., None]
