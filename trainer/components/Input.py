"""A feature of the asset, as the model sees it.

Parameters
----------
feature : feature
    The feature to feed in
scale : [standard, window, none]
    standard: each column minus its mean, over its deviation, both taken from the training samples only and kept in
    the model. window: the same, but taken from the rows of each sample itself, so that the level does not matter.
    none: as it is
"""

from keras import Input, layers

ROLE = "input"


def make_component(name, inputs, spec, feature, scale="standard"):
    tensor = Input(shape=spec.shape, name=name)
    if scale == "standard":
        return tensor, layers.Normalization(axis=-1, name=f"{name}_standard")(tensor)
    if scale == "window":
        if len(spec.shape) < 2:
            raise ValueError("scale window needs a feature with rows; this one has a single row")
        by_window = layers.LayerNormalization(axis=1, epsilon=1e-6, center=False, scale=False, name=f"{name}_window")
        return tensor, by_window(tensor)
    return tensor, tensor
