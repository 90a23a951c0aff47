"""How the model is trained.

Parameters
----------
optimizer : [adam, adamw, nadam, sgd, rmsprop]
    The rule that turns gradients into steps
loss : [auto, binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy, mse, mae, huber]
    What training makes small; auto fits the output's activation and the label
learning_rate : number
    Size of the steps at the start
schedule : [constant, cosine, exponential, plateau]
    How the learning rate goes on: cosine falls to a hundredth over the epochs; exponential loses 5 % an epoch;
    plateau halves it after three epochs without progress
batch_size : int
    Samples a step
epochs : int
    Passes over the training samples, at most
patience : int
    Stop after so many epochs without progress; 0 never stops early
monitor : text
    The column of perf.csv that tells progress and the best epoch
metrics : text
    Columns of perf.csv to write, separated by commas; empty: all that fit the label
threshold : number
    Prediction from which a yes-or-no label counts as predicted yes
class_weights : text
    none, balanced (each class counts the same in total), or weights such as 0:1, 1:3
clip_norm : number
    Longest gradient that is allowed; 0: any
seed : int
    Start of all random numbers: the same seed and asset give the same run
keep : text
    Epochs whose model is kept: all, best 5, or every 10
"""

from keras import optimizers

ROLE = "globals"


def make_component(
    name,
    inputs,
    optimizer="adam",
    loss="auto",
    learning_rate=0.001,
    schedule="constant",
    batch_size=64,
    epochs=20,
    patience=0,
    monitor="val_loss",
    metrics="",
    threshold=0.5,
    class_weights="none",
    clip_norm=0.0,
    seed=0,
    keep="all",
):
    kinds = {
        "adam": optimizers.Adam,
        "adamw": optimizers.AdamW,
        "nadam": optimizers.Nadam,
        "sgd": optimizers.SGD,
        "rmsprop": optimizers.RMSprop,
    }
    return {
        "optimizer": kinds[optimizer](learning_rate, clipnorm=clip_norm or None),
        "loss": loss,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "batch_size": batch_size,
        "epochs": epochs,
        "patience": patience,
        "monitor": monitor,
        "metrics": metrics,
        "threshold": threshold,
        "class_weights": class_weights,
        "clip_norm": clip_norm,
        "seed": seed,
        "keep": keep,
    }
