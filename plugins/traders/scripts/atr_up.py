"""Label: 1 where the average true range rises with the next bar, else 0.

Parameters
----------
rate : integer >= 2, default 14
    Bars that the average is over; e.g. [14]-minute ATR
size : integer >= 1, default 1
    Units in a bar; e.g. 14 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 14 1-[minute] bars

Returns
-------
[ label ]

Notes
-----
The `rate` bars are those that follow the bar of the trade `rate - 1` trades ago: in a busy market they begin with
the bar to come, and the label says whether its successors keep up its range.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import average_true_range


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    rate, interval = _read(params)
    bars = adapter.get_bars(index - rate + 1, rate, *interval, future=True)
    return _label(bars, rate) if len(bars) == rate else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    rate, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(np.asarray(indices) - rate + 1, rate, *interval, future=True)
    keep = lengths == rate
    return keep, _label(bars[keep], rate)


def _read(params):
    return params.get("rate", 14), (params.get("unit", "minute"), params.get("size", 1))


def _label(bars, rate):
    atr = average_true_range(bars, rate)
    return (atr[..., -1:] > atr[..., -2:-1]).astype(float)
