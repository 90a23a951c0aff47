"""On-balance volume: volume added when the close rises and taken off when it falls, from 0 before the line.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. on-balance volume of the last [30] minutes
size : integer >= 1, default 1
    Units in a bar; e.g. 30 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 30 1-[minute] bars

Returns
-------
[ obv ]

Notes
-----
Granville, J. (1963), *New Key to Stock Market Profits*.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter


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
    close, volume = bars[..., 3], bars[..., 5]
    return np.cumsum(np.sign(np.diff(close)) * volume[..., 1:], axis=-1)[..., None]
