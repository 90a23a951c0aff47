"""A stream's file: which adapter feeds it, or serves on its behalf, with which parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name, removal_of


class AdapterName(msgspec.Struct, frozen=True):
    """Which adapter feeds a stream."""

    name: str


class Stream(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A stream's file in `{team}/streams`: an adapter and its parameters.

    `intervals` are bars that it has besides those of a minute, `features` schemas whose features are published for it;
    one that is not `enabled` does not run.
    """

    adapter: AdapterName
    parameters: dict[str, Any] = {}
    intervals: list[str] = []
    features: list[str] = []
    enabled: bool = True


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
    """Write a stream's file at once: a reader sees the old one or the new one. It may hold secrets: owner only."""
    path = stream_path(workspace, name)
    if not path.exists():
        workspace.check_topics("streams", name)
    write_file(path, msgspec.json.format(msgspec.json.encode(stream), indent=4), mode=0o600)
    removal_of(path).unlink(missing_ok=True)
    return path


def remove_stream(workspace: Workspace, name: str) -> None:
    """Remove a stream's file, if it has one; its topics stay, and nobody works on them any more."""
    path = stream_path(workspace, name)
    write_file(removal_of(path), b"")
    path.unlink(missing_ok=True)
