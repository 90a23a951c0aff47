"""The feature engine: ticks of one symbol in, complete samples out; the same for builds, live features and tests.

Features are stages in `sort_key` order. A sample moves from stage to stage as soon as what it reads has happened; a
stage that rejects it ends its way, and nothing more is computed for it. Stages keep order, so samples come out in the
order of their index however the ticks were cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lit.features.intervals import Interval
from lit.features.scripts import ScriptError
from lit.features.window import NeedMoreData, SymbolWindow
from lit.streams.tick import Float64Array, Int64Array, TickBlock, Watermark

#: Samples handed to a `feature_batch` at once: bounds memory (100 bars of 8 columns: 26 MB).
BATCH = 4096

Values = dict[str, Float64Array]


class Feature(Protocol):
    """What the engine needs of a feature."""

    @property
    def name(self) -> str:
        """Its name in the schema."""

    @property
    def sort_key(self) -> float:
        """Features of lower keys are computed first."""

    @property
    def batched(self) -> bool:
        """Whether `compute_batch` may be called."""

    def compute(self, adapter: Any, index: int, others: Mapping[str, Float64Array]) -> Float64Array | None:
        """Return the value at `index`, or None: the sample is rejected."""

    def compute_batch(
        self, adapter: Any, indices: Int64Array, others: Values
    ) -> tuple[npt.NDArray[np.bool_], Float64Array]:
        """Return which samples are kept, and the values of those."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one symbol, in order.

    Parameters
    ----------
    index
        int64 (n,): positions within the symbol's sequence.
    timestamp
        int64 (n,): times of those ticks, ns.
    values
        Feature name → float64 (n, columns) or (n, rows, columns).
    """

    symbol: str
    index: Int64Array
    timestamp: Int64Array
    values: Values

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Any) -> Samples:
        return Samples(
            self.symbol, self.index[rows], self.timestamp[rows], {k: v[rows] for k, v in self.values.items()}
        )

    @staticmethod
    def concat(parts: Sequence[Samples]) -> Samples:
        """Join samples that follow each other."""
        full = [part for part in parts if len(part)] or list(parts[:1])
        if len(full) == 1:
            return full[0]
        return Samples(
            full[0].symbol,
            np.concatenate([part.index for part in full]),
            np.concatenate([part.timestamp for part in full]),
            {name: np.concatenate([part.values[name] for part in full]) for name in full[0].values},
        )


class SampleError(ScriptError):
    """A script failed at a sample: `feature` and `index`, its position in its symbol's sequence, say where."""

    def __init__(self, symbol: str, feature: str, index: int, error: ScriptError) -> None:
        message = str(error).partition(": ")[2] if error.script else str(error)
        super().__init__(error.script, error.line, message)
        self.symbol, self.feature, self.index = symbol, feature, index


@dataclass(frozen=True, slots=True)
class Doing:
    """What an engine is at: a feature, the first sample of those handed to it, since when (`time.monotonic`)."""

    feature: str
    index: int
    since: float


@dataclass(slots=True)
class Counts:
    """How often a feature was computed, for how many samples, and how many it kept."""

    calls: int = 0
    samples: int = 0
    kept: int = 0


#: Told of a sample whose script failed; returns whether the sample is put aside, else the error ends the work.
OnFailure = Callable[[SampleError], bool]


def in_computing_order(features: Iterable[Feature]) -> list[Feature]:
    """Sort by `sort_key`; equal keys keep the schema's order."""
    return sorted(features, key=lambda feature: feature.sort_key)


class _Stage:
    """One feature and the samples that wait for what it reads."""

    def __init__(self, feature: Feature, on_failure: OnFailure, batch: int) -> None:
        self.feature = feature
        self._batch_size = batch
        self.waiting: Samples | None = None
        self.kept: list[Int64Array] = []
        self.counts = Counts()
        self.doing: Doing | None = None
        self._on_failure = on_failure

    def run(self, window: SymbolWindow, arrived: Samples) -> Samples:
        """Take samples and return those that are done; the others wait here."""
        todo = arrived if self.waiting is None else Samples.concat([self.waiting, arrived])
        work = self._batch if self.feature.batched else self._loop
        done: list[Samples] = []
        while len(todo):
            taken, kept = work(window, todo[: self._batch_size] if len(todo) > self._batch_size else todo)
            if kept is not None:
                done.append(kept)
                self.kept.append(kept.index)
            todo = todo[taken:]
            if taken == 0:
                break
        self.doing = None
        self.waiting = todo if len(todo) else None
        return Samples.concat(done) if done else todo[:0]

    def _batch(self, window: SymbolWindow, todo: Samples) -> tuple[int, Samples | None]:
        while len(todo):
            self.doing = Doing(self.feature.name, int(todo.index[0]), time.monotonic())
            try:
                keep, values = self.feature.compute_batch(window, todo.index, todo.values)
            except NeedMoreData as need:
                todo = todo[: min(need.served, len(todo) - 1)]
                continue
            except ScriptError as error:
                return self._one_by_one(window, todo, error)
            kept = int(keep.sum())
            self._count(len(todo), kept)
            if not kept:
                return len(todo), None
            return len(todo), self._with(todo if kept == len(todo) else todo[keep], values)
        return 0, None

    def _one_by_one(self, window: SymbolWindow, todo: Samples, error: ScriptError) -> tuple[int, Samples | None]:
        """Find the sample that a batch failed at; the loop is what defines a feature."""
        failures = 0

        def count(one: SampleError) -> bool:
            nonlocal failures
            failures += 1
            return self._on_failure(one)

        taken, kept = self._loop(window, todo, count)
        if taken == len(todo) and not failures:
            raise SampleError(todo.symbol, self.feature.name, int(todo.index[0]), error)
        return taken, kept

    def _loop(
        self, window: SymbolWindow, todo: Samples, on_failure: OnFailure | None = None
    ) -> tuple[int, Samples | None]:
        keep, values = [], []
        taken = 0
        for taken, index in enumerate(todo.index.tolist()):
            others = {name: column[taken] for name, column in todo.values.items()}
            self.doing = Doing(self.feature.name, index, time.monotonic())
            try:
                value = self.feature.compute(window, index, others)
            except NeedMoreData:
                break
            except ScriptError as error:
                failed = SampleError(todo.symbol, self.feature.name, index, error)
                if not (on_failure or self._on_failure)(failed):
                    raise failed from error
                continue
            if value is not None:
                keep.append(taken)
                values.append(value)
        else:
            taken = len(todo)
        self._count(taken, len(keep))
        return taken, self._with(todo[np.array(keep)], np.stack(values)) if keep else None

    def _count(self, samples: int, kept: int) -> None:
        self.counts.calls += 1
        self.counts.samples += samples
        self.counts.kept += kept

    def _with(self, samples: Samples, values: Float64Array) -> Samples:
        return Samples(samples.symbol, samples.index, samples.timestamp, {**samples.values, self.feature.name: values})


class FeatureEngine:
    """Computes the features of one symbol as its ticks pass by.

    Parameters
    ----------
    symbol
        Whose ticks will be fed.
    features
        In the schema's order; computed by `sort_key`.
    resolution
        Every how many ticks a sample is tried; 1: at each tick.
    intervals
        Bar intervals that the features read (see `lit.features.probe`).
    gathered
        How many ticks are gathered before features are computed; 0: none, as a stream needs. It cannot be seen in
        what comes out, but work on many samples at once is faster.
    batches
        Feature → samples handed to its `feature_batch` at once, where that is not `BATCH`.
    window, start
        A window that has seen ticks already, and the first of them to be tried as a sample; none: at the first tick.
    skipped
        (first, stop) stretches whose ticks are read but not tried as samples, in order.
    on_failure
        Whether a sample whose script failed is put aside; none: the first failure is raised.
    """

    def __init__(
        self,
        symbol: str,
        features: Sequence[Feature],
        resolution: int = 1,
        intervals: Iterable[Interval] = (),
        skipped: Sequence[tuple[int, int]] = (),
        on_failure: OnFailure = lambda _: False,
        gathered: int = 0,
        batches: Mapping[str, int] | None = None,
        window: SymbolWindow | None = None,
        start: int = 0,
    ) -> None:
        self._symbol = symbol
        self._gathered, self._gathering = gathered, list[Samples]()
        self._resolution = resolution
        self._skipped = list(skipped)
        self._window = window or SymbolWindow(symbol, intervals)
        self._stages = [
            _Stage(feature, on_failure, (batches or {}).get(feature.name, BATCH))
            for feature in in_computing_order(features)
        ]
        for block in self._window.blocks(start, self._window.next_index):
            self._gathering.append(self._candidates(block))

    @property
    def next_index(self) -> int:
        """The tick that is awaited next."""
        return self._window.next_index

    @property
    def window(self) -> SymbolWindow:
        """What features read."""
        return self._window

    @property
    def settled(self) -> int:
        """All samples below this index have come out or were rejected."""
        waiting = [stage.waiting.index[0] for stage in self._stages if stage.waiting is not None]
        waiting += [samples.index[0] for samples in self._gathering if len(samples)][:1]
        return int(min(waiting, default=self._window.next_index))

    @property
    def none(self) -> Samples:
        """No samples of this symbol."""
        return Samples(self._symbol, np.empty(0, np.int64), np.empty(0, np.int64), {})

    @property
    def doing(self) -> Doing | None:
        """What is being computed now, for who watches from another thread."""
        return next((stage.doing for stage in self._stages if stage.doing is not None), None)

    @property
    def counts(self) -> dict[str, Counts]:
        """Feature → how much it was computed so far, in computing order."""
        return {stage.feature.name: stage.counts for stage in self._stages}

    def kept(self, stop: int) -> dict[str, Int64Array]:
        """Return feature → indices below `stop` that it kept, in computing order, and forget them."""
        found: dict[str, Int64Array] = {}
        for stage in self._stages:
            index = np.concatenate([np.empty(0, np.int64), *stage.kept])
            inside = int(np.searchsorted(index, stop))
            found[stage.feature.name] = index[:inside]
            stage.kept = [index[inside:]] if inside < len(index) else []
        return found

    def feed(self, item: TickBlock | Watermark) -> Samples:
        """Take the next block or watermark and return the samples that are complete now."""
        self._window.feed(item)
        samples = self._candidates(item)
        if len(samples) and self._gathered:
            self._gathering.append(samples)
        if sum(map(len, self._gathering)) < self._gathered and not self._window.ended:
            return self.none
        return self._run(samples[:0] if self._gathered else samples)

    def gathered(self) -> Samples:
        """Compute what was gathered, as far as it can be now, and return the samples that are complete."""
        return self._run(self.none)

    def _run(self, samples: Samples) -> Samples:
        samples = Samples.concat([*self._gathering, samples])
        self._gathering.clear()
        for stage in self._stages:
            samples = stage.run(self._window, samples)
        self._window.trim(self.settled)
        return samples

    def _candidates(self, item: TickBlock | Watermark) -> Samples:
        if isinstance(item, Watermark):
            return self.none
        skip = -item.first_index % self._resolution
        index = np.arange(item.first_index + skip, item.next_index, self._resolution, dtype=np.int64)
        stamps = item.timestamp[skip :: self._resolution]
        while self._skipped and self._skipped[0][1] <= item.first_index:
            self._skipped.pop(0)
        if self._skipped and self._skipped[0][0] < item.next_index:
            wanted = np.ones(len(index), bool)
            for first, stop in self._skipped:
                wanted[(index >= first) & (index < stop)] = False
            index, stamps = index[wanted], stamps[wanted]
        return Samples(self._symbol, index, stamps, {})
