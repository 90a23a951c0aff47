"""Moving average convergence divergence: fast less slow average of closing prices, and its own average.

Parameters
----------
count : integer >= 1, default 30
    Points of the line; e.g. 12/26/9 MACD for [30] minutes
fast : integer >= 1, default 12
    Span of the fast average; e.g. [12]/26/9 MACD
slow : integer >= 1, default 26
    Span of the slow average; e.g. 12/[26]/9 MACD
signal : integer >= 1, default 9
    Span of the signal line; e.g. 12/26/[9] MACD
size : integer >= 1, default 1
    Units in a bar; e.g. 12 [1]-minute bars
unit : [second, minute, hour, day, tick, volume, dollar], default minute
    What a bar spans; e.g. 12 1-[minute] bars

Returns
-------
[ macd, signal, histogram ]

Notes
-----
`3 * (slow + signal)` bars before the line settle the averages.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import ema


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    count, spans, needed, interval = _read(params)
    bars = adapter.get_bars(index, needed, *interval)
    return _lines(bars, count, *spans) if len(bars) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    count, spans, needed, interval = _read(params)
    bars, lengths = adapter.get_bars_batch(indices, needed, *interval)
    keep = lengths == needed
    return keep, _lines(bars[keep], count, *spans)


def _read(params):
    count = params.get("count", 30)
    spans = params.get("fast", 12), params.get("slow", 26), params.get("signal", 9)
    return count, spans, count + 3 * (max(spans[:2]) + spans[2]), (params.get("unit", "minute"), params.get("size", 1))


def _lines(bars, count, fast, slow, signal):
    close = bars[..., 3]
    macd = ema(close, fast) - ema(close, slow)
    average = ema(macd, signal)
    return np.stack([macd, average, macd - average], axis=-1)[..., -count:, :]
