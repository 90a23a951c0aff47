"""Number of the symbol in a list, for an Embedding; a symbol that is not in it has the number after the last.

Parameters
----------
symbols : text, optional
    Symbols in the order of their numbers, separated by commas, such as AAPL.O, IBM.N

Returns
-------
[ symbol_number ]
"""

import numpy as np

from lit.plugins.traders.adapter import TradersBaseAdapter


def feature(adapter: TradersBaseAdapter, index: int, params: dict = {}, other_features: dict = {}):
    return [float(numbers(params).get(adapter[index]["symbol"], len(numbers(params))))]


def feature_batch(adapter: TradersBaseAdapter, indices, params: dict, other_features: dict):
    known = numbers(params)
    found = [[known.get(adapter[int(index)]["symbol"], len(known))] for index in indices]
    return np.ones(len(indices), bool), np.array(found, float).reshape(-1, 1)


def numbers(params: dict):
    names = [name.strip() for name in (params.get("symbols") or "").split(",")]
    return {name: number for number, name in enumerate(filter(None, names))}
