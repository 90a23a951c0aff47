"""Label: which barrier the price meets first: 1 a profit, -1 a loss, 0 neither within the next bars.

Parameters
----------
count : integer >= 1, default 10
    Bars until the time barrier; e.g. within [10] minutes
up : number > 0, default 1
    Distance of the upper barrier, in standard deviations of the return over `count` bars; e.g. [1]
down : number > 0, default 1
    Distance of the lower barrier, likewise; e.g. [1]
rate : integer >= 2, default 30
    Past bars that tell the standard deviation; e.g. the last [30] minutes
size : integer >= 1, default 1
    Units in a bar; e.g. 10 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 10 1-[minute] bars

Returns
-------
[ label ]

Notes
-----
A barrier is met by a bar's high or low; where one bar meets both, the loss counts. Past prices that never moved give
no distance: the sample is rejected. López de Prado, M. (2018), *Advances in Financial Machine Learning*, ch. 3.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import log_returns, rolling_mean


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, rate, interval = _read(params)
    past = adapter.get_bars(index, rate + 1, *interval)
    future = adapter.get_bars(index, count, *interval, future=True)
    if len(past) <= rate or len(future) < count:
        return []
    return _labels(np.array([adapter[index]["Price"]]), past[None], future[None], params)[0]


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, rate, interval = _read(params)
    past, known = adapter.get_bars_batch(indices, rate + 1, *interval)
    future, to_come = adapter.get_bars_batch(indices, count, *interval, future=True)
    keep = (known == rate + 1) & (to_come == count)
    return keep, _labels(adapter.column("Price", indices[keep]), past[keep], future[keep], params)


def _read(params):
    return params.get("count", 10), params.get("rate", 30), (params.get("unit", "minute"), params.get("size", 1))


def _labels(price, past, future, params):
    count, rate, _ = _read(params)
    deviation = np.sqrt(rolling_mean(log_returns(past[..., 3]) ** 2, rate) * count)
    high = price[:, None] * (1 + params.get("up", 1) * deviation)
    low = price[:, None] * (1 - params.get("down", 1) * deviation)
    never = count  # later than any bar
    won = np.min(np.where(future[..., 1] >= high, np.arange(count), never), axis=1, keepdims=True)
    lost = np.min(np.where(future[..., 2] <= low, np.arange(count), never), axis=1, keepdims=True)
    label = np.where(lost <= won, np.where(lost < never, -1.0, 0.0), 1.0)
    return np.where(deviation > 0, label, np.nan)
