"""Imbalance bars: each closes once buyers or sellers prevailed by more than was to be expected.

Parameters
----------
count : integer >= 1, default 10
    How many bars; e.g. the last [10]
by : [tick, volume, dollar], default tick
    What a trade weighs: itself, its size or its worth; e.g. [volume] imbalance bars
size : integer >= 2, default 50
    Trades that a bar is expected to have at first; e.g. [50]
span : integer >= 1, default 20
    Bars that the expectations are averaged over; e.g. the last [20]
trades : integer >= 10, default 3000
    How many trades the bars are formed from, this one included; e.g. the last [3000]

Returns
-------
[ open, high, low, close, trades, volume, mean_trade_size, max_trade_size, imbalance ]

Notes
-----
Where such a bar begins depends on all bars before it, so they are formed anew at each sample, from its last `trades`
trades; the averages forget the first of them. Only bars that closed count; fewer than `count` reject the sample.
López de Prado, M. (2018), *Advances in Financial Machine Learning*, ch. 2.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.imbalance import imbalance_bars

AT_ONCE = 64  # samples whose trades are held in memory


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    needed = params.get("trades", 3000)
    trades = adapter.get_bars(index, needed, "tick", 1, prevent_lookahead_bias=False)  # a trade is no lookahead
    return _last(trades, params) if len(trades) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    needed, count = params.get("trades", 3000), params.get("count", 10)
    found = [np.empty((0, count, 9))]
    keep = np.zeros(len(indices), bool)
    for first in range(0, len(indices), AT_ONCE):
        trades, lengths = adapter.get_bars_batch(
            indices[first : first + AT_ONCE], needed, "tick", 1, prevent_lookahead_bias=False
        )
        for row in np.flatnonzero(lengths == needed):
            bars = _last(trades[row], params)
            if len(bars):
                keep[first + row] = True
                found.append(bars[None])
    return keep, np.concatenate(found)


def _last(trades, params):
    count, size, span = params.get("count", 10), params.get("size", 50), params.get("span", 20)
    bars = imbalance_bars(trades[:, 3], trades[:, 5], params.get("by", "tick"), size, span)
    return bars[-count:] if len(bars) >= count else []
