"""Trying a feature, as its author does before saving: at one index, or judged as a whole."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lit.features.dataset import DatasetAdapter
from lit.features.feature import Feature
from lit.features.futures import made_up_tapes
from lit.features.lookahead import judge
from lit.features.parity import check_batch
from lit.features.scripts import Outline, load_script
from lit.features.served import ServedAdapter
from lit.features.spy import Spy
from lit.features.tapes import read_tape
from lit.streams.errors import UserError
from lit.streams.tick import Float64Array

_READS_SHOWN = 50
_WORTH_REPEATING = 5.0  # seconds


def try_at(feature: Feature, needs: Sequence[Feature], adapter: Any, index: int) -> dict[str, Any]:
    """Compute a feature at one index and tell how it went.

    Parameters
    ----------
    feature
        What to try.
    needs
        The features it is computed from, in computing order.
    adapter
        Where (`TradersBaseAdapter`).
    index
        The sample.

    Returns
    -------
    dict
        `index`; `rejected` and, if so, `by` which feature; `columns` and `rows` (lists of floats); `seconds` of the
        feature itself, its bars at hand; `reads`: what it read, and whether that is beyond the sample.

    Raises
    ------
    UserError
        If a script fails: which, and at which line.
    """
    others: dict[str, Float64Array] = {}
    for need in needs:
        value = need.compute(adapter, index, others)
        if value is None:
            nothing: dict[str, Any] = {"columns": [], "rows": [], "seconds": 0.0, "reads": []}
            return {"index": index, "rejected": True, "by": need.name, **nothing}
        others[need.name] = value
    spy = Spy(adapter, index)
    value, seconds = _timed(feature, spy, index, others)
    if seconds < _WORTH_REPEATING:  # the first call made the bars and compiled their kernel
        waited = getattr(adapter, "waited", 0.0)
        with redirect_stdout(io.StringIO()), _no_logging():
            seconds = _timed(feature, adapter, index, others)[1]
        seconds -= getattr(adapter, "waited", 0.0) - waited
    return {
        "index": index,
        "rejected": value is None,
        "by": feature.name if value is None else "",
        "columns": list(feature.columns),
        "rows": [] if value is None else np.atleast_2d(value).tolist(),
        "seconds": seconds,
        "reads": [asdict(read) for read in spy.reads[:_READS_SHOWN]],
    }


def _timed(
    feature: Feature, adapter: Any, index: int, others: dict[str, Float64Array]
) -> tuple[Float64Array | None, float]:
    start = time.perf_counter()
    value = feature.compute(adapter, index, others)
    return value, time.perf_counter() - start


@contextmanager
def _no_logging() -> Iterator[None]:
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def payload(features: Sequence[Feature | tuple[str, Outline, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Describe features (or name, outline and parameters of such) in JSON, for a child process to load."""
    described = []
    for item in features:
        name, script, params = item if isinstance(item, tuple) else (item.name, item.script, item.params)
        described.append({"name": name, "path": str(script.path), "source": script.source, "params": dict(params)})
    return described


def examine(features: list[dict[str, Any]], tapes: Sequence[str] = ()) -> dict[str, Any]:
    """Judge a feature: batch against loop, and whether it looks ahead. For `sandbox.call`.

    Parameters
    ----------
    features
        The `payload` of those it is computed from, in computing order, and of itself.
    tapes
        Files written by `write_tape`, besides made-up ticks.

    Returns
    -------
    dict
        The verdict's fields, its evidence as sentences.

    Raises
    ------
    UserError
        If it can't be loaded, or batch and loop differ.
    """
    *needs, feature = _load(features)
    blocks = [*made_up_tapes(), *(read_tape(Path(path)) for path in tapes)]
    verdict = judge(feature, needs, blocks)
    if verdict.kind not in ("failing", "unstable"):
        check_batch(feature, needs, blocks)
    return {**asdict(verdict), "evidence": [str(evidence) for evidence in verdict.evidence]}


def try_on(
    features: list[dict[str, Any]], index: int, tapes: Sequence[str] = (), served: int | None = None
) -> dict[str, Any]:
    """Compute a feature at one index of a dataset, of tapes or served by the parent (`try_at`). For `sandbox.call`."""
    *needs, feature = _load(features)
    adapter: Any
    if served is None:
        adapter = DatasetAdapter.of_blocks(read_tape(Path(path)) for path in tapes)
    else:
        adapter = ServedAdapter(served)
    if not 0 <= index < len(adapter):
        raise UserError(f"index {index} is outside 0…{len(adapter) - 1}")
    return try_at(feature, needs, adapter, index)


def _load(features: Sequence[dict[str, Any]]) -> list[Feature]:
    return [Feature(item["name"], load_script(Path(item["path"]), item["source"]), item["params"]) for item in features]
