"""A stream's file, and the replay adapter that it may name: files sent as if they were live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lit.streams.errors import UserError
from lit.streams.tick import from_iso
from lit.streams.timeline import Pace
from lit.streams.workspace import Workspace, checked_name


class AdapterName(msgspec.Struct, frozen=True):
    """Which adapter feeds a stream."""

    name: str


class Stream(msgspec.Struct, frozen=True):
    """A stream's file in `{team}/streams`: an adapter and its parameters."""

    adapter: AdapterName
    parameters: dict[str, Any] = {}


class ReplayParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the `replay` adapter.

    Parameters
    ----------
    paths
        Files in the order of their time, absolute or within the team's `raw` folder.
    adapter
        Source adapter that reads them.
    speed
        Seconds of the market a second.
    start
        ISO time; what is before it goes out at once and warms up what follows.
    max_gap
        Seconds that a silence of the market takes at the most.
    """

    paths: list[str]
    adapter: str = "refinitiv"
    speed: float = 1.0
    start: str | None = None
    max_gap: float = 5.0

    def pace(self) -> Pace:
        """Return the pace, checked."""
        if self.speed <= 0 or self.max_gap <= 0:
            raise UserError(f"speed {self.speed} and max_gap {self.max_gap} of a replay must be above 0")
        try:
            return Pace(self.speed, from_iso(self.start) if self.start else 0, self.max_gap)
        except ValueError as error:
            raise UserError(f"start of a replay: {error}") from None


def stream_path(workspace: Workspace, name: str) -> Path:
    """Return where a stream is kept."""
    return workspace.folder("streams") / f"{checked_name(name, 'stream')}.json"


def load_stream(workspace: Workspace, name: str) -> Stream:
    """Read a stream's file.

    Raises
    ------
    UserError
        If there is none, or it is not one.
    """
    path = stream_path(workspace, name)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise UserError(f"team {workspace.team!r} has no stream {name!r} (there are: {known})")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stream)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is not a stream: {error}") from None


def save_stream(workspace: Workspace, name: str, stream: Stream) -> Path:
    """Write a stream's file."""
    path = stream_path(workspace, name)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(stream), indent=4))
    return path


def replay_parameters(name: str, stream: Stream) -> ReplayParameters:
    """Return the parameters of a stream whose adapter is `replay`.

    Raises
    ------
    UserError
        If they do not fit.
    """
    try:
        return msgspec.convert(stream.parameters, ReplayParameters)
    except msgspec.ValidationError as error:
        raise UserError(f"parameters of stream {name!r} do not fit the replay adapter: {error}") from None
