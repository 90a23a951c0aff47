"""Transformer blocks: each row looks at all others and takes what it needs.

A block knows no order of the rows by itself: put Conv1D, LSTM or GRU (with rows) before it where order matters.

Parameters
----------
heads : int
    Looks in parallel, each at something else
size : int
    Numbers that a row is compared by, in each head
forward : int
    Units of the layer that works on each row afterwards
blocks : int
    Blocks, one after another
causal : bool
    Let a row look at itself and rows before it only
dropout : number
    Share that training hides at random, 0 to 1
"""

from keras import layers as L


def make_component(name, inputs, heads=2, size=16, forward=64, blocks=1, causal=False, dropout=0.0):
    x = inputs[0]
    if len(x.shape) != 3:
        raise ValueError("it needs rows and columns: connect a feature with rows, or a layer that keeps them")
    columns = x.shape[-1]
    for block in range(1, blocks + 1):
        before = L.LayerNormalization(name=f"{name}_{block}_norm")(x)
        look = L.MultiHeadAttention(heads, size, dropout=dropout, name=f"{name}_{block}_look")
        x = L.Add(name=f"{name}_{block}_add")([x, look(before, before, use_causal_mask=causal)])
        inner = L.LayerNormalization(name=f"{name}_{block}_forward_norm")(x)
        inner = L.Dense(forward, "gelu", name=f"{name}_{block}_forward")(inner)
        if dropout:
            inner = L.Dropout(dropout, name=f"{name}_{block}_dropout")(inner)
        inner = L.Dense(columns, name=f"{name}_{block}_back")(inner)
        x = L.Add(name=f"{name}_{block}_forward_add")([x, inner])
    return x
