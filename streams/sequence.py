"""What a provider's sequence numbers say of its messages: which are repeats, which came late, which are missing.

Pure: no clock, no I/O; times are handed in. One `Sequence` watches one symbol of one channel.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import msgspec

#: How a provider counts: each trade of a symbol one more; growing by whatever; not at all.
Numbering = Literal["contiguous", "increasing", "none"]
#: Numbers remembered to tell a repeat from a late one; holes remembered to take late ones in.
_RECENT, _HOLES = 1024, 256


class Verdict(Enum):
    """What a tick is, by its number."""

    NEXT = "next"
    REPEAT = "repeat"
    LATE = "late"


class Hole(msgspec.Struct, array_like=True):
    """Numbers `first`…`last` that did not come.

    `at` is when that was noticed (s), `since` the time of the tick before it (ns), `marked` whether it was told.
    """

    first: int
    last: int
    at: float = 0.0
    since: int = 0
    marked: bool = False


class SequenceState(msgspec.Struct):
    """What must be remembered of a sequence between two runs of a stream."""

    last: int | None = None
    holes: list[Hole] = msgspec.field(default_factory=list)


class Sequence:
    """Judges the numbers of one symbol in order of arrival.

    Parameters
    ----------
    numbering
        `contiguous`: a jump is a hole, and a hole that stays open is a gap. `increasing`: numbers only grow, so a
        jump says nothing. A lower number that was not seen (under `increasing`: among the last thousand) is late.
    state
        Where an earlier one stopped. Numbers up to its last are repeats from then on, but for those in its holes.
    """

    def __init__(self, numbering: Numbering, state: SequenceState | None = None) -> None:
        self._contiguous = numbering == "contiguous"
        self.state = state or SequenceState()
        self._recent: list[int] = []
        self._seen: set[int] = set()

    def take(self, number: int, now: float = 0.0, since: int = 0) -> Verdict:
        """Judge the next number; `now` is a monotonic time (s), `since` the newest market time before it (ns)."""
        state = self.state
        last = state.last
        if last is None or number > last:
            if self._contiguous and last is not None and number > last + 1:
                state.holes = [*state.holes, Hole(last + 1, number - 1, now, since)][-_HOLES:]
            state.last = number
            verdict = Verdict.NEXT
        else:
            verdict = self._fill(number) if self._contiguous else self._late(number)
        if not self._contiguous and verdict is not Verdict.REPEAT:
            self._remember(number)
        return verdict

    def _late(self, number: int) -> Verdict:
        if number in self._seen or not self._recent or number < min(self._recent):
            return Verdict.REPEAT
        return Verdict.LATE

    def _remember(self, number: int) -> None:
        self._recent.append(number)
        self._seen.add(number)
        if len(self._recent) > 2 * _RECENT:
            self._recent = self._recent[-_RECENT:]
            self._seen = set(self._recent)

    def _fill(self, number: int) -> Verdict:
        for place, hole in enumerate(self.state.holes):
            if hole.first <= number <= hole.last:
                parts = [
                    Hole(first, last, hole.at, hole.since, hole.marked)
                    for first, last in ((hole.first, number - 1), (number + 1, hole.last))
                    if first <= last
                ]
                self.state.holes[place : place + 1] = parts
                return Verdict.LATE
        return Verdict.REPEAT

    def gaps(self, before: float) -> tuple[int, int]:
        """Return how many numbers are missing in holes noticed up to a time, and since when (ns); each told once."""
        due = [hole for hole in self.state.holes if not hole.marked and hole.at <= before]
        for hole in due:
            hole.marked = True
        return sum(hole.last - hole.first + 1 for hole in due), min((hole.since for hole in due), default=0)

    def told(self, missed: int) -> bool:
        """Take note that the oldest holes, of so many numbers together, were told; returns whether there are such."""
        found, total = [], 0
        for hole in self.state.holes:
            if not hole.marked and total < missed:
                found.append(hole)
                total += hole.last - hole.first + 1
        for hole in found if total == missed else ():
            hole.marked = True
        return total == missed

    @property
    def waiting(self) -> bool:
        """Whether there are holes that were not told yet."""
        return any(not hole.marked for hole in self.state.holes)

    def skip_run(self, first: int, last: int) -> int | None:
        """Take consecutive numbers at once; returns how many of their head are repeats, None if that needs `take`."""
        known = self.state.last
        if not self._contiguous or (known is not None and first > known + 1):
            return None
        if known is None or first == known + 1:
            self.state.last = last
            return 0
        if self.state.holes:
            return None
        self.state.last = max(known, last)
        return min(known, last) - first + 1


def ranges(numbers: list[int]) -> list[list[int]]:
    """Return numbers in order of arrival as runs [first, last] of consecutive ones."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs
