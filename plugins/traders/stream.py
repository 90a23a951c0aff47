"""The contract between whoever writes a stream adapter and the runtime that feeds its ticks into Kafka.

An adapter is one Python file. Its docstring is its form, its `stream` an async generator that connects, and yields
ticks until the connection ends; everything else (checks, indices, repeats, gaps, clock, reconnects, delivery) is done
for it. `docs/streams.md` shows one whole.

The names that a file may set besides: `SEQUENCE` ("contiguous", "increasing", "none", or a function of the parameters
that says which), `HEARTBEAT` (seconds of silence after which the connection is given up), `GRACE` (seconds that a tick
may be under way), `CLOCK` ("arrival" or "adapter"), `LIVE` (parameters that may change while it runs), `COLUMNS` (own
columns → "text", "number" or "integer"), `RESUMES` (a new connection goes on at `feed.position`, so that it loses
nothing), `EXCHANGE` (a calendar), `NEGATIVE_PRICES`. Parameters named `numbering`, `heartbeat` and `grace` take
precedence over the first three.

What it yields: a tick, a list of ticks, or `Columns`. A tick is a dict: `symbol`, `timestamp` (int, ns since the epoch,
UTC), `Price`, `Volume`; if the feed has them `Seq. No.`, `session`, `Qualifiers` and its own `COLUMNS`. Two keys are
not kept as columns: `sequence`, the number that tells repeats and gaps (`Seq. No.` where it is left out), and
`channel`, what that number counts within, for one symbol (`""`).

How it ends: by returning, the feed is over. By `UserError`, trying again would not help (a refused key, say): the
sentence is shown and nothing is tried again. By any other exception, the connection is lost: the runtime waits, longer
each time, and calls `stream` anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lit.streams.errors import UserError
from lit.streams.live_blocks import Columns

__all__ = ["Columns", "Feed", "UserError"]


@runtime_checkable
class Feed(Protocol):
    """What `stream(feed)` is given."""

    parameters: dict[str, Any]
    """The parameters of the stream's file, checked by the form, secrets opened; `LIVE` ones change as it runs."""
    folder: Path
    """The team's folder."""
    position: Any
    """What `keep` last kept, in an earlier run too; None at first."""

    def connected(self) -> None:
        """Say that the connection stands: ticks may come from now on."""

    def alive(self) -> None:
        """Say that something came which is no tick, such as a heartbeat."""

    def seen(self, symbol: str, channel: str = "") -> int | None:
        """Return the highest sequence number taken of a symbol, in an earlier run too."""

    def symbols(self) -> dict[str, int]:
        """Return the symbols that the stream has had, with the time of their last tick (ns)."""

    def gap(self, reason: str, symbol: str | None = None, missed: int | None = None) -> None:
        """Mark a gap in a symbol's ticks, or in those of all symbols."""

    def watermark(self, symbol: str, timestamp: int) -> None:
        """Say that no tick of a symbol before `timestamp` (ns) follows: bars up to there are closed."""

    def reject(self, raw: Any, reason: str) -> None:
        """Put a message that cannot be read into quarantine."""

    def show(self, state: str) -> None:
        """Show a state of the adapter's own, such as `paused`, in place of `live`."""

    async def keep(self, position: Any) -> None:
        """Keep a position (plain JSON types); once this returns, all that was yielded before is in the topic."""

    async def sleep(self, seconds: float) -> None:
        """Wait without counting as silent."""
