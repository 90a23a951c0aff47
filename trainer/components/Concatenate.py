"""Joins several inputs into one.

Parameters
----------
along : [columns, rows]
    columns: side by side, which needs as many rows in each. rows: one behind the other, which needs as many columns
"""

from keras import layers as L

INPUTS = (2, None)


def make_component(name, inputs, along="columns"):
    shapes = {len(x.shape) for x in inputs}
    if len(shapes) > 1 or (along == "rows" and shapes == {2}):
        raise ValueError("all inputs need rows, or none: put Flatten before those that have them")
    return L.Concatenate(axis=-1 if along == "columns" else 1, name=name)(inputs)
