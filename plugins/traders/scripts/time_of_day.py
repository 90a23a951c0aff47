"""Time of day as a point on a circle, so that midnight has no edge: sine and cosine of the exchange's time.

Parameters
----------
zone : text, default America/New_York
    Time zone of the exchange; e.g. [America/New_York]

Returns
-------
[ time_sin, time_cos ]
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.units import time_of_day


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    return _circle(np.array([adapter[index]["timestamp"]]), params)[0]


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    return np.ones(len(indices), bool), _circle(adapter.column("timestamp", indices), params)


def _circle(times, params):
    angle = 2 * np.pi * time_of_day(times, params.get("zone", "America/New_York"))
    return np.stack([np.sin(angle), np.cos(angle)], axis=-1)
