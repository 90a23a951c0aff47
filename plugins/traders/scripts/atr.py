"""Average true range: how far prices move in a bar, gaps included, as Wilder's moving average.

Parameters
----------
count : integer >= 1, default 100
    Points of the line; e.g. ATR of the last [100] minutes
rate : integer >= 1, default 14
    Bars that the average is over; e.g. [14]-minute ATR
size : integer >= 1, default 1
    Units in a bar; e.g. 14 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 14 1-[minute] bars

Returns
-------
[ atr ]

Notes
-----
`3 * rate` bars before the line settle the average. Wilder, J. W. (1978), *New Concepts in Technical Trading Systems*.
"""

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import average_true_range


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, rate, interval = _read(params)
    bars = adapter.get_bars(index, count + 3 * rate, *interval)
    return _line(bars, count, rate) if len(bars) == count + 3 * rate else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, rate, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, count + 3 * rate, *interval)
    keep = lengths == count + 3 * rate
    return keep, _line(bars[keep], count, rate)


def _read(params):
    count, rate = params.get("count", 100), params.get("rate", 14)
    return count, rate, (params.get("unit", "minute"), params.get("size", 1))


def _line(bars, count, rate):
    return average_true_range(bars, rate)[..., -count:, None]
