"""Whether a script's `feature_batch` says what the loop of `feature` says, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lit.features.dataset import DatasetAdapter
from lit.features.feature import Feature
from lit.features.futures import made_up_tapes
from lit.features.scripts import ScriptError
from lit.streams.tick import Float64Array, Int64Array, TickBlock


def check_batch(
    feature: Feature, needs: Sequence[Feature] = (), tapes: Sequence[TickBlock] | None = None, seed: int = 0
) -> None:
    """Compare batch and loop at samples anywhere on each tape: all at once, in runs, and one by one.

    Parameters
    ----------
    feature
        What to check; nothing happens if its script has no `feature_batch`.
    needs
        The features it is computed from, in computing order.
    tapes
        Ticks of one symbol each, from index 0; none: made-up ones.
    seed
        Decides which samples.

    Raises
    ------
    ScriptError
        At the first difference: which sample, and what both say.
    """
    if not feature.batched:
        return
    for tape in made_up_tapes() if tapes is None else tapes:
        rng = np.random.default_rng((seed, len(tape)))
        adapter = DatasetAdapter.of_blocks([tape])
        start = int(rng.integers(0, max(len(tape) - 150, 1)))
        run = np.arange(start, min(start + 150, len(tape)))
        indices = np.unique([*run, *rng.integers(0, len(tape), 150), 0, len(tape) - 1])
        indices, others = _survivors(needs, adapter, indices)
        loop = _loop(feature.fresh(), adapter, indices, others)
        cuts = [[0, len(indices)], sorted({0, len(indices), *rng.integers(0, len(indices) + 1, 6).tolist()})]
        cuts.append(list(range(min(len(indices), 20) + 1)))
        for edges in cuts:
            for low, high in itertools.pairwise(edges):
                part = {name: values[low:high] for name, values in others.items()}
                _compare(feature.fresh(), adapter, indices[low:high], part, loop[low:high])


def _survivors(
    needs: Sequence[Feature], adapter: Any, indices: Int64Array
) -> tuple[Int64Array, dict[str, Float64Array]]:
    """Compute the features needed; samples that one of them rejects are gone."""
    others: dict[str, Float64Array] = {}
    for need in needs:
        values = _loop(need.fresh(), adapter, indices, others)
        kept = np.array([value is not None for value in values], bool)
        indices = indices[kept]
        others = {name: column[kept] for name, column in others.items()}
        others[need.name] = np.array([value for value in values if value is not None])
    return indices, others


def _loop(
    feature: Feature, adapter: Any, indices: Int64Array, others: Mapping[str, Float64Array]
) -> list[Float64Array | None]:
    return [
        feature.compute(adapter, index, {name: column[row] for name, column in others.items()})
        for row, index in enumerate(indices.tolist())
    ]


def _compare(
    feature: Feature,
    adapter: Any,
    indices: Int64Array,
    others: Mapping[str, Float64Array],
    loop: Sequence[Float64Array | None],
) -> None:
    if not len(indices):
        return
    keep, values = feature.compute_batch(adapter, indices, others)
    batch = iter(values)
    for index, kept, one in zip(indices.tolist(), keep.tolist(), loop, strict=True):
        many = next(batch) if kept else None
        if many is None or one is None:
            same = many is one
        else:
            same = many.shape == one.shape and many.tobytes() == one.tobytes()
        if not same:
            raise ScriptError(
                feature.script.name,
                None,
                f"feature_batch differs from feature at tick {index} of a batch of {len(indices)}: "
                f"{_text(many)} instead of {_text(one)}",
            )


def _text(value: Float64Array | None) -> str:
    return "rejected" if value is None else str(value.ravel()[:4].tolist())
