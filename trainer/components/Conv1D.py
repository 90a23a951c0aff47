"""Convolution over rows: finds short patterns wherever they are. Several layers stand on each other.

Parameters
----------
filters : list of int
    Patterns that each layer looks for, such as 32, 64
kernel : int
    Rows that a pattern spans
activation : [relu, gelu, elu, selu, silu, tanh, linear]
    What each layer applies to its sums
padding : [causal, same, valid]
    causal: a row sees itself and rows before it. same: rows on both sides. valid: as same, without padding, so that
    rows become fewer
dilation : int
    How many times further apart the rows of a pattern lie from layer to layer; 1: side by side in each
pool : int
    Take the largest of so many rows after each layer; 1: keep all rows
dropout : number
    Share of each layer's outputs that training hides at random, 0 to 1
"""

from keras import layers as L


def make_component(
    name, inputs, filters=(32,), kernel=3, activation="relu", padding="causal", dilation=1, pool=1, dropout=0.0
):
    x = inputs[0]
    if len(x.shape) != 3:
        raise ValueError("it needs rows and columns: connect a feature with rows, or a layer that keeps them")
    for number, count in enumerate(filters, 1):
        apart = dilation ** (number - 1)
        layer = L.Conv1D(
            count, kernel, padding=padding, dilation_rate=apart, activation=activation, name=f"{name}_{number}"
        )
        x = layer(x)
        if pool > 1:
            x = L.MaxPooling1D(pool, name=f"{name}_{number}_pool")(x)
        if dropout:
            x = L.Dropout(dropout, name=f"{name}_{number}_dropout")(x)
    return x
