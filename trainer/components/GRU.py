"""Gated recurrent units: a smaller LSTM that reads the rows in order too. Several layers stand on each other.

Parameters
----------
layers : list of int
    Units of each layer, such as 64, 32
rows : bool
    Give on a value for each row, for another layer that needs rows; otherwise the last one alone
both_ways : bool
    Read the rows backwards too; it is still the past alone that a sample holds
dropout : number
    Share of each row's inputs that training hides at random, 0 to 1
"""

from keras import layers as L


def make_component(name, inputs, layers=(32,), rows=False, both_ways=False, dropout=0.0):
    x = inputs[0]
    if len(x.shape) != 3:
        raise ValueError("it needs rows and columns: connect a feature with rows, or a layer that keeps them")
    for number, units in enumerate(layers, 1):
        keep = rows or number < len(layers)
        layer = L.GRU(units, return_sequences=keep, dropout=dropout, name=f"{name}_{number}")
        x = L.Bidirectional(layer, name=f"{name}_{number}_both")(x) if both_ways else layer(x)
    return x
