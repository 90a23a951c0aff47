"""A learnt vector for each category, such as a number that stands for a symbol, a session or a weekday.

Its input holds category numbers 0, 1, 2…: set scale none at the Input. Numbers beyond the last category count as it.

Parameters
----------
categories : int
    How many categories there are
size : int
    Numbers in a category's vector
"""

from keras import layers as L


def make_component(name, inputs, categories, size=4):
    inside = L.ReLU(max_value=categories - 1, name=f"{name}_inside")(inputs[0])
    x = L.Embedding(categories, size, name=name)(inside)
    if len(x.shape) == 4:
        return L.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{name}_rows")(x)
    return L.Flatten(name=f"{name}_row")(x)
