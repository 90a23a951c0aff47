"""Brings what reaches it to a common scale.

Parameters
----------
by : [standard, sample, batch]
    standard: each column minus its mean, over its deviation, taken from the training samples once and kept in the
    model. sample: the columns of each row among themselves, then a learnt scale. batch: as seen while training, then a
    learnt scale
"""

from keras import layers as L


def make_component(name, inputs, by="standard"):
    if by == "standard":
        return L.Normalization(axis=-1, name=name)(inputs[0])
    return (L.LayerNormalization if by == "sample" else L.BatchNormalization)(name=name)(inputs[0])
