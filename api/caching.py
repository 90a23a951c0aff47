"""Workers of cachings: a process for each file that a team wants cached, a few at once, the oldest wish first."""

from __future__ import annotations

from pathlib import Path

from lit.api.workers import WorkerSpec
from lit.streams.caching import pending
from lit.streams.workspace import Workspace

#: Cachings of a team that run at once: reading is bound by the processor, so more would only wait for each other.
AT_ONCE = 2


def caching_workers(workspace: Workspace, command: tuple[str, ...], logs: Path) -> list[WorkerSpec]:
    """Return the cachings of a team that should run now.

    Parameters
    ----------
    command
        The beginning of a `lit` command line.
    logs
        Folder of the workers' logs.
    """
    team = workspace.team
    return [
        WorkerSpec(
            f"{team}/cache.{wish.key}",
            "cache",
            (*command, "cache", "--team", team, "--job", wish.key),
            logs / f"{team}.cache.log",
        )
        for wish in pending(workspace)[:AT_ONCE]
    ]
