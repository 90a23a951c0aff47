"""What a bars worker needs to know; names of everything follow from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from lit.features.intervals import Interval
from lit.streams import topics


@dataclass(frozen=True)
class BarsConfig:
    """A source, the intervals of its bars, and the broker."""

    bootstrap: str
    team: str
    source: str
    intervals: tuple[Interval, ...]
    replication: int = 1

    @property
    def app_id(self) -> str:
        """Consumer group. Other intervals make another group, which reads from the start what is new to it."""
        digest = hashlib.sha256(",".join(map(str, sorted(self.intervals))).encode()).hexdigest()[:8]
        return f"{self.owner_id}.{digest}"

    @property
    def owner_id(self) -> str:
        """Begins the transactional id; the same for all sets of intervals, so that each fences the one before."""
        return f"lit.{self.team}.bars.{self.source}".replace(" ", "_")

    @property
    def ticks_topic(self) -> str:
        """The input."""
        return topics.ticks(self.team, self.source).name

    @property
    def state_topic(self) -> str:
        """Builders' states; shared by all sets of intervals."""
        return topics.state(self.team, "bars", self.source).name

    @property
    def dead_topic(self) -> str:
        """Where unreadable messages go."""
        return topics.dead_letters(self.team, self.source).name

    def bars_topic(self, interval: Interval) -> str:
        """The output of an interval."""
        return topics.bars(self.team, self.source, str(interval)).name

    def create_topics(self) -> None:
        """Create input, outputs, state and dead letters as far as they are missing."""
        wanted: Sequence[topics.Topic] = (
            topics.ticks(self.team, self.source),
            topics.state(self.team, "bars", self.source),
            topics.dead_letters(self.team, self.source),
            *(topics.bars(self.team, self.source, str(interval)) for interval in self.intervals),
        )
        topics.create_topics(self.bootstrap, *wanted, replication=self.replication)
