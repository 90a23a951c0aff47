"""What the model predicts: a label of the asset.

Parameters
----------
feature : label
    The feature to learn as the label
activation : [sigmoid, softmax, linear]
    sigmoid for a yes-or-no label (0 or 1), softmax for one of several classes, linear for a quantity
classes : int
    With softmax and a label that holds the class number: how many classes there are; 0 takes the label's columns
"""

from keras import layers

ROLE = "output"
INPUTS = (1, None)


def make_component(name, inputs, spec, feature, activation="sigmoid", classes=0):
    tensors = [layers.Flatten()(x) if len(x.shape) > 2 else x for x in inputs]
    x = layers.Concatenate(name=f"{name}_join")(tensors) if len(tensors) > 1 else tensors[0]
    units = classes
    if not units:
        units = 1
        for size in spec.shape:
            units *= size
    return layers.Dense(units, activation, name=name)(x)
