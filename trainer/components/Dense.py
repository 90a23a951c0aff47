"""Fully connected layers, one after another. Several inputs are joined; rows are laid end to end first.

Parameters
----------
layers : list of int
    Units of each layer, such as 64, 32
activation : [relu, gelu, elu, selu, silu, tanh, sigmoid, linear]
    What each layer applies to its sums
dropout : number
    Share of each layer's outputs that training hides at random, 0 to 1
l2 : number
    Penalty on squared weights, such as 0.0001
each_row : bool
    Apply the layers to each row by itself and keep the rows
"""

from keras import layers as L
from keras import regularizers

INPUTS = (1, None)


def make_component(name, inputs, layers=(64,), activation="relu", dropout=0.0, l2=0.0, each_row=False):
    tensors = inputs if each_row else [L.Flatten()(x) if len(x.shape) > 2 else x for x in inputs]
    x = L.Concatenate(name=f"{name}_join")(tensors) if len(tensors) > 1 else tensors[0]
    for number, units in enumerate(layers, 1):
        penalty = regularizers.L2(l2) if l2 else None
        x = L.Dense(units, activation, kernel_regularizer=penalty, name=f"{name}_{number}")(x)
        if dropout:
            x = L.Dropout(dropout, name=f"{name}_{number}_dropout")(x)
    return x
