"""Do training labels reach into the test span? Windows in time, per symbol, streaming.

A label at t is made of what follows until t + horizon. Where that window of a training sample meets the window of a
test sample of the same symbol, the training knew some of what the test asks (López de Prado, Advances in Financial
Machine Learning, ch. 7: such samples are to be purged, see `lit.trainer.folds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
#: A chunk of samples: times (ns), and their symbols' numbers.
Samples = tuple[Ints, Ints]
_COMPACT = 1_000_000


class LabelOverlap(msgspec.Struct, frozen=True):
    """How training and test samples meet in time.

    Attributes
    ----------
    horizon_seconds : float or None
        How far labels look ahead, at least; None if it is not known, and then only equal times count.
    samples : int
        Training samples whose window meets that of a test sample of the same symbol.
    share : float
        Of all training samples.
    """

    horizon_seconds: float | None
    samples: int
    share: float


def overlap(train: Iterable[Samples], test: Iterable[Samples], horizon_seconds: float | None) -> LabelOverlap:
    """Count training samples whose label window meets a test sample's; times may come in any order.

    In memory is the union of the test windows alone: one interval where test samples follow each other closely.
    """
    horizon = round((horizon_seconds or 0.0) * 1e9)
    spans = _Spans(horizon)
    for times, symbols in test:
        spans.add(times, symbols)
    met = total = 0
    for times, symbols in train:
        total += len(times)
        for symbol, own in _by_symbol(times, symbols):
            met += spans.met(symbol, own)
    return LabelOverlap(horizon_seconds, met, met / max(total, 1))


class _Spans:
    """For each symbol the union of [t, t + horizon] as disjoint intervals."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon
        self._starts: dict[int, Ints] = {}
        self._ends: dict[int, Ints] = {}
        self._waiting: dict[int, list[Ints]] = {}
        self._size = 0

    def add(self, times: Ints, symbols: Ints) -> None:
        for symbol, own in _by_symbol(times, symbols):
            self._waiting.setdefault(symbol, []).append(own)
        self._size += len(times)
        if self._size > _COMPACT:
            self._compact()

    def met(self, symbol: int, times: Ints) -> int:
        self._compact()
        if symbol not in self._starts:
            return 0
        starts, ends = self._starts[symbol], self._ends[symbol]
        last = np.searchsorted(starts, times + self._horizon, side="right") - 1  # begins before the window ends
        return int(np.count_nonzero((last >= 0) & (ends[last] >= times)))

    def _compact(self) -> None:
        for symbol, parts in self._waiting.items():
            starts = np.concatenate([self._starts.get(symbol, _EMPTY), *parts])
            ends = np.concatenate([self._ends.get(symbol, _EMPTY), *(part + self._horizon for part in parts)])
            order = np.argsort(starts, kind="stable")
            starts, ends = starts[order], np.maximum.accumulate(ends[order])
            first = np.flatnonzero(np.concatenate([[True], starts[1:] > ends[:-1]]))
            self._starts[symbol] = starts[first]
            self._ends[symbol] = ends[np.append(first[1:], len(starts)) - 1]
        self._waiting, self._size = {}, 0


_EMPTY = np.empty(0, np.int64)


def _by_symbol(times: Ints, symbols: Ints) -> Iterator[tuple[int, Ints]]:
    for symbol in np.unique(symbols).tolist():
        yield symbol, times[symbols == symbol]
