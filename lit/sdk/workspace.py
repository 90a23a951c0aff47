"""The team that a command or a notebook works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit.streams.workspace import Workspace


def workspace_of(team: str) -> Workspace:
    """Return the team's folders under the configured data root."""
    from lit.settings import Settings
    from lit.streams.workspace import Workspace

    return Workspace(Settings().data, team)
