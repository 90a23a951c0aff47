"""Sampler: keeps the last trade of each unit of time, such as one sample a minute, and rejects all others.

Parameters
----------
unit : [second, minute, hour, day], default minute
    One sample in each; e.g. one sample a [minute]
size : integer >= 1, default 1
    How many units; e.g. one sample every [5] minutes

Returns
-------
[ sampled ]

Notes
-----
The next trade tells that a unit is over, so the last trade of the data, which has none behind it, is rejected.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.units import cells


def sort_key():
    return 0  # first of all: what is rejected here costs nothing more


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    if index + 1 >= len(adapter):
        return []
    times = np.array([adapter[index]["timestamp"], adapter[index + 1]["timestamp"]])
    now, following = cells(times, *_read(params))
    return [1.0] if now != following else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    keep = np.asarray(indices) + 1 < len(adapter)
    followed = indices[keep]
    now = cells(adapter.column("timestamp", followed), *_read(params))
    following = cells(adapter.column("timestamp", followed + 1), *_read(params))
    keep[keep] = now != following
    return keep, np.ones((keep.sum(), 1))


def _read(params):
    return params.get("unit", "minute"), params.get("size", 1)
