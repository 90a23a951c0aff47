"""Makes one row of many.

Parameters
----------
how : [all, mean, max, last]
    all: the rows end to end. mean, max: of each column over the rows. last: the last row alone
"""

from keras import layers as L


def make_component(name, inputs, how="all"):
    x = inputs[0]
    if how == "all" or len(x.shape) != 3:
        return L.Flatten(name=name)(x)
    if how == "last":
        return L.Flatten(name=name)(L.Cropping1D((x.shape[1] - 1, 0), name=f"{name}_crop")(x))
    return (L.GlobalAveragePooling1D if how == "mean" else L.GlobalMaxPooling1D)(name=name)(x)
