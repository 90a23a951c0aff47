"""Reading a topic of ours so that each record counts once: drop what has no higher ordinal than the last seen.

Ordinals grow within a bar's (symbol, interval) and within a prediction's or score's (deployment, model, symbol). All
of a symbol's records are in one partition, so the order of arrival is the order of ordinals; a repeat is a record that
was seen before. A consumer in another language needs this rule and nothing else.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from lit.streams.records import Bar, Prediction, Score

Ordered = Bar | Prediction | Score
R = TypeVar("R", Bar, Prediction, Score)


def sequence_of(record: Ordered) -> Hashable:
    """Return what a record's ordinal counts within."""
    if isinstance(record, Bar):
        return Bar, record.symbol, record.interval
    return type(record), record.deployment, record.model, record.symbol


class Dedup:
    """Remembers the last ordinal of each sequence."""

    def __init__(self) -> None:
        self._last: dict[Hashable, int] = {}

    def is_new(self, record: Ordered) -> bool:
        """Tell whether a record was not seen yet, and remember it."""
        key = sequence_of(record)
        if record.ordinal <= self._last.get(key, -1):
            return False
        self._last[key] = record.ordinal
        return True

    def fresh(self, records: Iterable[R]) -> list[R]:
        """Return those records that were not seen yet, in order."""
        return [record for record in records if self.is_new(record)]
