"""Fits a model's Normalization layers on training samples, streaming, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lit.streams.errors import UserError
from lit.trainer.asset import Asset, Rows
from lit.trainer.backend import load


def fit_normalisation(model: Any, asset: Asset, features: Sequence[str], rows: Rows | None = None) -> None:
    """Give each Normalization layer the mean and variance of what reaches it from the training samples.

    Layers are fitted in the model's order, so one may stand behind another. Sums run in file order in float64, so
    the result depends on nothing but the samples.

    Raises
    ------
    UserError
        If a feature has values that are not finite; the sentence names its column.
    """
    _, keras = load()
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)]
    _check_finite(asset, features, rows)
    for layer in layers:
        upto = keras.Model(model.inputs, layer.input)
        keep = tuple(layer._keep_axis)
        moments = _Moments()
        for chunk in asset.chunks(features, rows):
            values = upto([chunk[name] for name in features], training=False)
            moments.add(np.asarray(values, np.float64), keep)
        layer.adapt_mean.assign(moments.mean.astype(np.float32))
        layer.adapt_variance.assign(moments.variance.astype(np.float32))
        layer.count.assign(min(moments.count, 2**31 - 1))
        layer.finalize_state()


class _Moments:
    """Mean and variance by chunks (Chan's update), so that prices with small spreads lose no digits."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, values: Any, keep: tuple[int, ...]) -> None:
        over = tuple(axis for axis in range(values.ndim) if axis not in keep)
        count = int(np.prod([values.shape[axis] for axis in over]))
        if not count:
            return
        mean = values.mean(axis=over)
        squares = ((values - np.expand_dims(mean, over)) ** 2).sum(axis=over)
        delta, total = mean - self.mean, self.count + count
        self._squares = self._squares + squares + delta**2 * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def variance(self) -> Any:
        """Variance; 1 where a column never changes, so that it becomes 0 and not infinite."""
        variance = self._squares / max(1, self.count)
        return np.where(variance > 0, variance, 1.0)


def _check_finite(asset: Asset, features: Sequence[str], rows: Rows | None) -> None:
    for chunk in asset.chunks(features, rows):
        for name, values in chunk.items():
            finite = np.isfinite(values)
            if not finite.all():
                column = asset.spec(name).columns[int(np.argwhere(~finite)[0][-1])]
                raise UserError(
                    f"feature {name!r} has values that are not finite in column {column!r}: "
                    "let its script reject such samples, and build the asset again"
                )
