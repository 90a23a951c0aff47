"""How a live stream does: written by its worker beside the team's logs, read by the API and the command line."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lit.streams.atomic import write_file
from lit.streams.tick import Gap, iso
from lit.streams.workspace import Workspace, checked_name

#: Gaps that are shown; all of them are in the topic.
SHOWN_GAPS = 50
#: A record older than this (s) is of a worker that hangs or was killed.
STALE_SECONDS = 10.0


class GapView(msgspec.Struct, frozen=True):
    """A gap as it is shown; times are ISO 8601."""

    symbol: str
    reason: str
    missed: int | None
    since: str | None
    until: str | None
    before_index: int


class Health(msgspec.Struct):
    """What a stream is doing.

    Parameters
    ----------
    state
        `connecting`, `live`, `waiting` (before the next attempt), `paused`, `ended`, `stopped` or `failed`.
    written
        When this was written, s since the epoch.
    last_tick, last_received
        Newest market time (ns since the epoch) and when a tick came last (s since the epoch).
    lag_ms
        How long the newest tick took from its market time to here; None for an adapter with a clock of its own.
    rejects
        Ticks in quarantine, by reason.
    gaps
        How many were marked since the worker's start; `recent_gaps` are the last of them.
    """

    state: str = "connecting"
    pid: int = msgspec.field(default_factory=os.getpid)
    written: float = 0.0
    connected_at: float | None = None
    last_received: float | None = None
    last_tick: str | None = None  # text: JavaScript numbers lose digits past 2**53
    lag_ms: float | None = None
    symbols: int = 0
    ticks: int = 0
    blocks: int = 0
    repeats: int = 0
    out_of_order: int = 0
    rejects: dict[str, int] = {}
    reconnects: int = 0
    gaps: int = 0
    recent_gaps: list[GapView] = []
    last_error: str | None = None
    position: str | None = None

    def stale(self, now: float) -> bool:
        """Whether its worker hangs or was killed, if it should run; `now` in seconds since the epoch."""
        return now - self.written > STALE_SECONDS


def health_path(workspace: Workspace, stream: str) -> Path:
    """Return where a stream's worker writes how it does."""
    return workspace.root / "logs" / "streams" / f"{checked_name(stream, 'stream')}.json"


def write_health(path: Path, health: Health) -> None:
    """Write a record at once: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.encode(health))


def read_health(workspace: Workspace, stream: str) -> Health | None:
    """Return what a stream's worker wrote last; None if there was none yet."""
    try:
        return msgspec.json.decode(health_path(workspace, stream).read_bytes(), type=Health)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def gap_view(symbol: str, index: int, gap: Gap) -> GapView:
    """Return a gap as it is shown."""
    since, until = (None if time is None else iso(time) for time in (gap.since, gap.until))
    return GapView(symbol, gap.reason, gap.missed, since, until, index)
