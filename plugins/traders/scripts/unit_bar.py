"""Bars of one unit: the candlestick chart that a trader looks at.

Parameters
----------
count : integer >= 1, default 100
    How many bars; e.g. [100] 1-minute bars
size : integer >= 1, default 1
    Units in a bar; e.g. 100 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 100 1-[minute] bars

Returns
-------
[ open, high, low, close, trades, volume, mean_trade_size, max_trade_size ]
"""

from lit.plugins.traders.adapter import TradersBaseAdapter


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, interval = _read(params)
    bars = adapter.get_bars(index, count, *interval)
    return bars if len(bars) == count else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, count, *interval)
    keep = lengths == count
    return keep, bars[keep]


def _read(params):
    return params.get("count", 100), (params.get("unit", "minute"), params.get("size", 1))
