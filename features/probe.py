"""What features read, found by running them: which bar intervals, and whether they look at ticks.

Streams must keep bars of an interval from the first tick on, and a deployment must know which topics it needs; a
feature's parameters decide that, and only running it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lit.features.dataset import DatasetAdapter
from lit.features.engine import Feature, in_computing_order
from lit.features.intervals import Interval
from lit.streams.tick import Int64Array, tick_block

_TICKS = 20_000
_STEP_NS = 1_700_000_000


@dataclass
class Reads:
    """What was read.

    Parameters
    ----------
    intervals
        Bar intervals.
    ticks
        Whether single ticks were read.
    future
        Whether bars of the future were asked for: the feature is a label.
    ahead
        Interval → how many of its bars were asked for after a sample's own, at the most.
    """

    intervals: set[Interval] = field(default_factory=set)
    ticks: bool = False
    future: bool = False
    ahead: dict[Interval, int] = field(default_factory=dict)


class _Recorder:
    """An adapter that notes what is asked of it."""

    def __init__(self, adapter: DatasetAdapter, reads: Reads) -> None:
        self._adapter = adapter
        self._reads = reads

    def __len__(self) -> int:
        return len(self._adapter)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self._reads.ticks = True
        return self._adapter[index]

    def column(self, name: str, indices: Int64Array) -> Any:
        self._reads.ticks = True
        return self._adapter.column(name, indices)

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Any:
        self._note(count, unit, size, future)
        return self._adapter.get_bars(index, count, unit, size, future, prevent_lookahead_bias)

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Any:
        self._note(count, unit, size, future)
        return self._adapter.get_bars_batch(indices, count, unit, size, future, prevent_lookahead_bias)

    def _note(self, count: int, unit: str, size: float, future: bool) -> None:
        interval = Interval.of(unit, size)
        self._reads.intervals.add(interval)
        self._reads.future |= bool(future)
        if future:
            self._reads.ahead[interval] = max(int(count), self._reads.ahead.get(interval, 0))


def probe(features: Sequence[Feature]) -> dict[str, Reads]:
    """Run each feature at a few places of a made-up tape and return what it read.

    A feature that fails here is left to fail where its error can be shown with the sample that it failed at.
    """
    rng = np.random.default_rng(7)
    price = 100 + np.cumsum(rng.normal(0, 0.01, _TICKS))
    tape = tick_block("PROBE", 0, np.arange(_TICKS) * _STEP_NS, price, rng.integers(1, 500, _TICKS))
    adapter = DatasetAdapter.of_blocks([tape])
    found: dict[str, Reads] = {}
    others: dict[str, Any] = {}
    for feature in in_computing_order(features):
        reads = found[feature.name] = Reads()
        for index in (_TICKS // 2, _TICKS - 1, 0):
            try:
                value = feature.compute(_Recorder(adapter, reads), index, others)
            except Exception:  # see the docstring
                continue
            if value is not None:
                others.setdefault(feature.name, value)
    return found


def intervals_of(found: dict[str, Reads]) -> list[Interval]:
    """Return all intervals of a probe, sorted."""
    return sorted({interval for reads in found.values() for interval in reads.intervals})
