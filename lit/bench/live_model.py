"""The model that `lit bench live` deploys, and what it takes alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lit.features.intervals import Interval

#: Bars of a second give many closes in a short run.
INTERVAL = Interval.parse("1second")
#: Bars that the model reads.
ROWS = 20


def bench_model() -> Any:
    """Return a dense model over the last bars, ready to predict, as a deployment would have it."""
    from lit.features.feature import Feature
    from lit.features.library import plugin_scripts
    from lit.features.scripts import load_script
    from lit.serving.predictions import Model
    from lit.serving.predictor import Predictor
    from lit.trainer.asset import FeatureSpec
    from lit.trainer.backend import load

    _, keras = load()
    path = next(path for _, path in plugin_scripts() if path.stem == "unit_bar")
    bars = Feature("bars", load_script(path), {"count": ROWS, "size": INTERVAL.size, "unit": INTERVAL.unit})
    given = keras.Input((ROWS, 8), name="bars")
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(given))
    network = keras.Model([given], keras.layers.Dense(1, activation="sigmoid")(hidden))
    predictor = Predictor(network, (FeatureSpec("bars", (ROWS, 8), ()),))
    predictor.predict_many({"bars": np.zeros((1, ROWS, 8), np.float32)})
    return Model("dense", [bars], None, predictor)


def model_ms(symbols: int) -> float:
    """Return the 99th percentile of computing a prediction for all symbols at once, in milliseconds."""
    predictor = bench_model().predictor
    inputs = {"bars": np.ones((symbols, ROWS, 8), np.float32)}
    samples = []
    for _ in range(100):
        began = time.perf_counter()
        predictor.predict_many(inputs)
        samples.append(time.perf_counter() - began)
    return float(np.quantile(samples, 0.99)) * 1000
