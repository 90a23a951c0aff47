"""A feature: a script with parameter values under a name; its results checked and brought to one form.

Rules for results
-----------------
- An empty result rejects the sample; so does a value that is NaN or infinite (counted in `not_finite`).
- One-dimensional results are one row of columns, two-dimensional ones are rows of columns; a bare number is a row of
  one column. All samples of a feature have one shape.
- Columns carry the names of the docstring; without, `{feature}_0`, `{feature}_1`…
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.features.scripts import Script, ScriptError
from lit.streams.tick import Float64Array, Int64Array


class Feature:
    """What the engine computes for one feature of a schema.

    Parameters
    ----------
    name
        The feature's name, as schemas and datasets have it.
    script
        What computes it.
    params
        As the user saved them; checked against the script's form, defaults filled in.

    Raises
    ------
    UserError
        If a parameter does not fit the form.
    """

    def __init__(self, name: str, script: Script, params: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.script = script
        self.params = script.form.check(params or {})
        self.sort_key = script.sort_key
        #: Shape of one sample's value, known after the first: (columns,) or (rows, columns).
        self.shape: tuple[int, ...] | None = None
        #: Samples that were rejected for a NaN or infinite value.
        self.not_finite = 0

    def __repr__(self) -> str:
        return f"Feature({self.name!r}, {self.script.name!r}, {self.params!r})"

    def fresh(self) -> Feature:
        """Return this feature as it was before it computed anything, module-level state of its script included."""
        return Feature(self.name, self.script.fresh(), self.params)

    @property
    def batched(self) -> bool:
        """Whether the script computes many samples at once."""
        return self.script.batched

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns; empty as long as neither the docstring nor a sample has told their number."""
        if self.script.columns or self.shape is None:
            return self.script.columns
        return tuple(f"{self.name}_{number}" for number in range(self.shape[-1]))

    @property
    def needs(self) -> list[str]:
        """Names of the features whose values this one is computed from."""
        return self.script.form.features(self.params)

    def compute(self, adapter: Any, index: int, others: Mapping[str, Float64Array]) -> Float64Array | None:
        """Return the value at `index`, float64 (columns,) or (rows, columns), or None: the sample is rejected.

        Raises
        ------
        ScriptError
            If the script failed or returned what is no value.
        NeedMoreData
            If it reads what has not happened yet.
        """
        value = self.script.feature(adapter, index, dict(self.params), _read_only(others))
        if value is None:
            raise self._error(f"feature returned None at index {index}: return a value, or [] to reject the sample")
        array = self._array(value, f"feature returned at index {index}")
        if array.size == 0:
            return None
        array = array.reshape(1) if array.ndim == 0 else array
        self._check_shape(array.shape, f"at index {index}")
        if not np.isfinite(array).all():
            self.not_finite += 1
            return None
        return array

    def compute_batch(
        self, adapter: Any, indices: Int64Array, others: Mapping[str, Float64Array]
    ) -> tuple[npt.NDArray[np.bool_], Float64Array]:
        """Return which samples are kept, bool (m,), and those' values, float64 (k, columns) or (k, rows, columns).

        Raises
        ------
        ScriptError, NeedMoreData
            As `compute`.
        """
        result = self.script.feature_batch(adapter, indices, dict(self.params), _read_only(others))
        try:
            keep, values = result
        except (TypeError, ValueError):
            raise self._error("feature_batch returned no pair: return keep, values") from None
        keep = np.array(keep)
        if keep.dtype != np.bool_ or keep.shape != (len(indices),):
            raise self._error(
                f"keep of feature_batch is {keep.dtype} {keep.shape}: return one bool for each of the indices"
            )
        values = self._array(values, "feature_batch returned")
        if not keep.any():
            return keep, np.empty((0, *(self.shape or (max(len(self.script.columns), 1),))))
        if values.ndim == 0 or len(values) != keep.sum():
            raise self._error(
                f"feature_batch kept {keep.sum()} samples but has values {values.shape}: return those of kept ones"
            )
        self._check_shape(values.shape[1:], f"of {len(values)} samples")
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            self.not_finite += int((~finite).sum())
            keep[np.flatnonzero(keep)[~finite]] = False
            values = values[finite]
        return keep, values

    def _array(self, value: Any, where: str) -> Float64Array:
        try:
            return np.array(value, np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise self._error(f"{where} what is no array of numbers: {error}") from None

    def _check_shape(self, shape: tuple[int, ...], where: str) -> None:
        if shape == self.shape:
            return
        names = self.script.columns
        if len(shape) not in (1, 2):
            raise self._error(f"a value {where} has shape {shape}: return (columns,) or (rows, columns)")
        if names and shape[-1] != len(names):
            fix = " (for rows of one column, return values[:, None])" if len(shape) == 1 else ""
            raise self._error(
                f"a value {where} has {shape[-1]} columns but Returns names {len(names)} ({', '.join(names)}): "
                f"make them agree{fix}"
            )
        if self.shape is not None:
            raise self._error(
                f"a value {where} has shape {shape}, samples before had {self.shape}: return one shape, "
                "or [] where there is too little data"
            )
        self.shape = shape

    def _error(self, message: str) -> ScriptError:
        return ScriptError(self.script.name, None, f"{message} (feature {self.name!r})")


class _Others(dict[str, Any]):
    """Values of features computed before; asking for another tells what there is."""

    def __missing__(self, name: str) -> Any:
        known = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"feature {name!r} is not computed before this one (computed: {known})")


def _read_only(others: Mapping[str, Float64Array]) -> dict[str, Any]:
    views = _Others()
    for name, value in others.items():
        views[name] = value.view()
        views[name].flags.writeable = False
    return views
