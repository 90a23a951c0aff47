"""Hides a share of its inputs at random while training, so that the model leans on no single one.

Parameters
----------
rate : number
    The share, 0 to 1
whole_columns : bool
    Hide a column in all rows of a sample together
"""

from keras import layers as L


def make_component(name, inputs, rate=0.2, whole_columns=False):
    if whole_columns and len(inputs[0].shape) == 3:
        return L.SpatialDropout1D(rate, name=name)(inputs[0])
    return L.Dropout(rate, name=name)(inputs[0])
