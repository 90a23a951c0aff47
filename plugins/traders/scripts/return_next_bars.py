"""Label: the return from this trade's price to the close of the last of the next bars.

Parameters
----------
count : integer >= 1, default 1
    How many bars ahead; e.g. the return to the close of the [1]st minute to come
size : integer >= 1, default 1
    Units in a bar; e.g. the next [1]-minute bar
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. the next 1-[minute] bar

Returns
-------
[ label ]
"""

from lit.plugins.traders.adapter import TradersBaseAdapter


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, interval = _read(params)
    bars = adapter.get_bars(index, count, *interval, future=True)
    return bars[-1, 3:4] / adapter[index]["Price"] - 1 if len(bars) == count else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, count, *interval, future=True)
    keep = lengths == count
    return keep, bars[keep, -1, 3:4] / adapter.column("Price", indices[keep])[:, None] - 1


def _read(params):
    return params.get("count", 1), (params.get("unit", "minute"), params.get("size", 1))
