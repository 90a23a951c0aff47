"""Trading session as three columns of which one is 1: before, in or after the exchange's regular hours.

Returns
-------
[ before, regular, after ]
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter

CODES = np.array([1, 0, 2])  # what `session` of a trade says, in the order of the columns


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    return (CODES == adapter[index]["session"]).astype(float)


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    sessions = adapter.column("session", indices)
    return np.ones(len(indices), bool), (CODES == sessions[:, None]).astype(float)
