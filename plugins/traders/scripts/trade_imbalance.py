"""Trade imbalance: how much more was bought than sold at the initiative of one side, -1 to 1, over the last trades.

Parameters
----------
rate : integer >= 1, default 100
    How many trades, this one included; e.g. the last [100] trades

Returns
-------
[ by_trades, by_volume ]

Notes
-----
Who began a trade is told by the tick rule. López de Prado, M. (2018), *Advances in Financial Machine Learning*, ch. 2.
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter
from lit.plugins.traders.indicators import rolling_sum, tick_rule


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    needed = params.get("rate", 100) + 1
    trades = adapter.get_bars(index, needed, "tick", 1, prevent_lookahead_bias=False)  # a trade is no lookahead
    return _imbalance(trades) if len(trades) == needed else []


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    needed = params.get("rate", 100) + 1
    trades, lengths = adapter.get_bars_batch(indices, needed, "tick", 1, prevent_lookahead_bias=False)
    keep = lengths == needed
    return keep, _imbalance(trades[keep])


def _imbalance(trades):
    signs, volume = tick_rule(trades[..., 3]), trades[..., 1:, 5]
    rate = signs.shape[-1]
    by_trades = rolling_sum(signs, rate) / rate
    total = rolling_sum(volume, rate)
    by_volume = rolling_sum(signs * volume, rate) / np.where(total > 0, total, 1.0)
    return np.concatenate([by_trades, by_volume], axis=-1)
