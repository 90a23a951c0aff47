"""The lookahead judge: does a feature's value at a tick change when the ticks after it change?

For chosen samples the ticks up to the sample stay as they are, to the bit, and what follows is changed in a dozen ways
(`lit.features.futures`); the feature is computed anew, by a module that has computed nothing before. Whatever differs
is evidence. Samples are chosen by watching what the feature reads at many more: those at which it reads beyond the
sample are tried first, one of each way of reading at least, so that a rare branch is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lit.features.dataset import DatasetAdapter
from lit.features.feature import Feature
from lit.features.futures import CHANGES, OF_TIME, made_up_tapes, with_other_future
from lit.features.spy import Read, Spy
from lit.streams.errors import UserError
from lit.streams.tick import Float64Array, TickBlock

Kind = Literal["clean", "label", "sampler", "leak", "unstable", "untested", "failing"]
#: Samples watched on each tape: this many in a row, and this many anywhere.
WATCHED = (400, 400)
_EVIDENCE = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """One sample at which a change of the future was noticed.

    Parameters
    ----------
    index, change
        The sample, and what was done to the ticks after it.
    before, after
        What the feature said: values, `rejected` or its error.
    reads
        What it read at this sample that may reach beyond it.
    """

    index: int
    change: str
    before: str
    after: str
    reads: tuple[str, ...] = ()

    def __str__(self) -> str:
        reads = f"; it read {', '.join(self.reads)}" if self.reads else ""
        return f"at tick i = {self.index}, {self.change}: {self.before} became {self.after}{reads}"


@dataclass(slots=True)
class Verdict:
    """What the judge says of a feature.

    Parameters
    ----------
    feature
        Its name.
    kind
        `clean`: no change was noticed. `label`: it noticed, and asks for the future by `future=True`. `sampler`: it
        only rejects, by the times of what follows, and all its values are equal. `leak`: it noticed otherwise.
        `unstable`: it says different things of one and the same data. `untested`: it rejected every sample.
        `failing`: it raised at every sample.
    samples, changes
        How many samples were tried, and with how many other futures in all.
    evidence
        Some of what was noticed.
    note
        One sentence for the user.
    """

    feature: str
    kind: Kind = "untested"
    samples: int = 0
    changes: int = 0
    evidence: list[Evidence] = field(default_factory=list)
    note: str = ""

    @property
    def usable_as_input(self) -> bool:
        """Whether a model may be given this feature's values."""
        return self.kind in ("clean", "sampler", "untested")

    def __str__(self) -> str:
        return f"{self.feature}: {self.kind}, {self.samples} samples, {self.changes} other futures. {self.note}"


_NOTES: dict[Kind, str] = {
    "clean": "No value changed with the future.",
    "label": "It tells the future and says so (future=True): a label, not an input.",
    "sampler": "It chooses samples by what follows; its values tell nothing.",
    "leak": "Its value changes with ticks after the sample: a model would be given the future.",
    "unstable": "It says different things of the same data: no clock, no random numbers, nothing kept between samples.",
    "untested": "It rejected every sample tried: judge it on data that reaches as far back as it does.",
    "failing": "It failed at every sample tried.",
}

Outcome = Float64Array | str | None


def judge(
    feature: Feature,
    needs: Sequence[Feature] = (),
    tapes: Sequence[TickBlock] | None = None,
    samples: int = 40,
    seed: int = 0,
) -> Verdict:
    """Judge a feature.

    Parameters
    ----------
    feature
        What to judge.
    needs
        The features it is computed from, in computing order.
    tapes
        Ticks of one symbol each, from index 0; none: made-up ones.
    samples
        How many to try on each tape.
    seed
        Decides which samples.

    Returns
    -------
    Verdict
        With evidence for whatever is not clean.
    """
    trial = _Trial(feature, needs)
    for tape in made_up_tapes() if tapes is None else tapes:
        trial.run(tape, samples, np.random.default_rng((seed, len(tape))))
    return trial.verdict()


@dataclass(slots=True)
class _Watched:
    """A sample, what was said there, and the reads that may have reached beyond it."""

    index: int
    outcome: Outcome
    reads: tuple[Read, ...]


class _Trial:
    """Collects outcomes and evidence over tapes."""

    def __init__(self, feature: Feature, needs: Sequence[Feature]) -> None:
        self._chain = [*needs, feature]
        self._verdict = Verdict(feature.name)
        self._unstable: list[Evidence] = []
        self._values: set[bytes] = set()
        self._changes_noticed: set[str] = set()
        self._values_noticed = self._declared = self._touched = False
        self._errors: list[str] = []
        self._answers = 0

    def run(self, tape: TickBlock, samples: int, rng: np.random.Generator) -> None:
        """Watch and try samples of one tape."""
        adapter = DatasetAdapter.of_blocks([tape])
        watched = self._watch(adapter, rng)
        chosen = _choose(watched, samples, rng)
        self._check_memory(adapter, chosen)
        for sample in chosen:
            self._verdict.samples += 1
            base = self._outcome(adapter, sample.index)
            if _key(base) != _key(sample.outcome):
                self._differs(sample, base, "computed again by a module that had computed nothing else")
                continue
            for change in CHANGES:
                self._verdict.changes += 1
                other = self._outcome(with_other_future(tape, sample.index, change), sample.index)
                if _key(other) != _key(base):
                    self._notice(sample, change, base, other)
            if self._values_noticed and len(self._verdict.evidence) >= _EVIDENCE:
                return

    def verdict(self) -> Verdict:
        """Return the judgement on what was collected."""
        verdict = self._verdict
        if self._unstable:
            verdict.kind, verdict.evidence = "unstable", self._unstable[:_EVIDENCE]
        elif verdict.evidence:
            verdict.kind = "sampler" if self._only_samples() else "label" if self._declared else "leak"
        elif self._values:
            verdict.kind = "clean"
        elif self._errors and not self._answers:
            verdict.kind = "failing"
        verdict.note = _NOTES[verdict.kind]
        if verdict.kind == "clean" and self._touched:
            verdict.note += " It does read beyond the sample, though without effect on what it says."
        if self._errors:
            verdict.note += f" {self._errors[0]}"
        return verdict

    def _only_samples(self) -> bool:
        return not self._values_noticed and len(self._values) == 1 and self._changes_noticed <= OF_TIME

    def _watch(self, adapter: DatasetAdapter, rng: np.random.Generator) -> list[_Watched]:
        count = len(adapter)
        start = int(rng.integers(0, max(count - WATCHED[0], 1)))
        inside = np.arange(start, min(start + WATCHED[0], count))
        anywhere = rng.integers(0, count, WATCHED[1])
        indices = np.unique([*inside, *anywhere, 0, count - 1, max(count - 2, 0)])
        watched = []
        chain = [feature.fresh() for feature in self._chain]
        for index in rng.permutation(indices).tolist():
            spy = Spy(adapter, index)
            outcome = _compute(chain, spy, index)
            reads = tuple(read for read in spy.reads if read.beyond)
            watched.append(_Watched(index, outcome, reads))
            self._touched |= bool(reads)
            if isinstance(outcome, str):
                self._errors.append(outcome)
            else:
                self._answers += 1
                self._values |= {outcome.tobytes()} if outcome is not None and len(self._values) < 2 else set()
        return watched

    def _check_memory(self, adapter: DatasetAdapter, chosen: Sequence[_Watched]) -> None:
        """Compute the chosen samples by one module, forwards and backwards: what it remembers must not matter."""
        chain = [feature.fresh() for feature in self._chain]
        ascending = sorted(chosen, key=lambda sample: sample.index)
        for sample in (*ascending, *ascending[::-1]):
            again = _compute(chain, adapter, sample.index)
            if _key(again) != _key(sample.outcome):
                self._differs(sample, again, "computed again after other samples")

    def _differs(self, sample: _Watched, other: Outcome, how: str) -> None:
        self._unstable.append(Evidence(sample.index, how, *_texts(sample.outcome, other)))

    def _outcome(self, adapter: Any, index: int) -> Outcome:
        return _compute([feature.fresh() for feature in self._chain], adapter, index)

    def _notice(self, sample: _Watched, change: str, base: Outcome, other: Outcome) -> None:
        self._values_noticed |= base is not None and other is not None
        self._changes_noticed.add(change)
        self._declared |= any(read.declared for read in sample.reads)
        here = sum(evidence.index == sample.index for evidence in self._verdict.evidence)
        if here < 2 and len(self._verdict.evidence) < _EVIDENCE:
            reads = tuple(read.text for read in sample.reads[:4])
            self._verdict.evidence.append(Evidence(sample.index, change, *_texts(base, other), reads))


def _choose(watched: Sequence[_Watched], samples: int, rng: np.random.Generator) -> list[_Watched]:
    """Choose samples: one of each way of reading beyond, then kept ones of both sorts, then some that were rejected."""
    ways: dict[tuple[str, ...], _Watched] = {}
    for sample in watched:
        ways.setdefault(tuple(read.text for read in sample.reads), sample)
    kept = [sample for sample in watched if sample.outcome is not None]
    reaching, plain = _split(kept)
    rejected = _split([sample for sample in watched if sample.outcome is None])
    firsts = [sample for way, sample in ways.items() if way][: samples // 2]
    order = [*firsts, *_alternate(reaching, plain)][: samples * 3 // 4]
    order += list(_alternate(*rejected))[: samples - samples * 3 // 4]
    unique = {sample.index: sample for sample in order}
    return [unique[index] for index in rng.permutation(list(unique)).tolist()]


def _split(samples: Sequence[_Watched]) -> tuple[list[_Watched], list[_Watched]]:
    return [sample for sample in samples if sample.reads], [sample for sample in samples if not sample.reads]


def _alternate(first: Sequence[_Watched], second: Sequence[_Watched]) -> Iterator[_Watched]:
    for number in range(max(len(first), len(second))):
        yield from first[number : number + 1]
        yield from second[number : number + 1]


def _compute(chain: Sequence[Feature], adapter: Any, index: int) -> Outcome:
    """Return the last feature's value, None where one rejects, or the text of an error."""
    others: dict[str, Float64Array] = {}
    value: Float64Array | None = None
    for feature in chain:
        try:
            value = feature.compute(adapter, index, others)
        except UserError as error:
            return str(error)
        if value is None:
            return None
        others[feature.name] = value
    return value


def _key(outcome: Outcome) -> object:
    return (outcome.shape, outcome.tobytes()) if isinstance(outcome, np.ndarray) else outcome


def _texts(before: Outcome, after: Outcome) -> tuple[str, str]:
    """Write two outcomes that differ; of two arrays of one shape, the cells that do."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray) and before.shape == after.shape:
        differs = before != after
        return _text(before[differs]), _text(after[differs])
    return _text(before), _text(after)


def _text(outcome: Outcome) -> str:
    if isinstance(outcome, np.ndarray):
        shown = ", ".join(f"{value:.6g}" for value in outcome.ravel()[:4].tolist())
        return f"[{shown}{' …' if outcome.size > 4 else ''}]"
    return outcome or "rejected"
