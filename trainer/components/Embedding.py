"""A learnt vector for each category, such as a number that stands for a symbol, a session or a weekday.

Set scale none at the Input. Numbers beyond the last category count as it. The feature scripts `symbol_number` (numbers)
and `session` (one column each) fit.

Parameters
----------
categories : int
    How many categories there are
size : int
    Numbers in a category's vector
coded : [number, columns]
    How the input says a category. number: 0, 1, 2… columns: one a category, of which one is 1
"""

from keras import layers as L


def make_component(name, inputs, categories, size=4, coded="number"):
    if coded == "columns":
        if inputs[0].shape[-1] != categories:
            raise ValueError(f"its input has {inputs[0].shape[-1]} columns, but categories is {categories}")
        return L.Dense(size, use_bias=False, name=name)(inputs[0])
    inside = L.ReLU(max_value=categories - 1, name=f"{name}_inside")(inputs[0])
    x = L.Embedding(categories, size, name=name)(inside)
    if len(x.shape) == 4:
        return L.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{name}_rows")(x)
    return L.Flatten(name=f"{name}_row")(x)
