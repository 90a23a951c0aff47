"""Builds from Python: the same as `lit build`, with or without a running `lit up`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lit.sdk.workspace import workspace_of
from lit.settings import Settings
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    from lit.processors.build import BuildSummary
    from lit.processors.progress import BuildProgress, BuildView


def build(
    team: str,
    schema: str,
    *,
    workers: int = 1,
    on_error: str = "stop",
    on_progress: Callable[[BuildProgress], None] = lambda _: None,
) -> BuildSummary:
    """Build a schema's dataset and return what was made: counts, digests, how much of it was there already.

    Parameters
    ----------
    team, schema
        Whose schema.
    workers
        Feature workers that share the symbols.
    on_error
        `stop` at a sample whose script fails, or `quarantine` the sample.
    on_progress
        Called as the build goes on.

    Raises
    ------
    UserError
        If the schema, a file or a feature is unusable, or a script fails: at which sample and line.
    """
    from lit.processors.build import build as run

    with _broker() as (settings, bootstrap):
        return run(
            Workspace(settings.data, team),
            schema,
            bootstrap,
            workers=workers,
            replication=settings.replication,
            on_error=on_error,  # type: ignore[arg-type]
            on_progress=on_progress,
        )


def resume(team: str, number: int, *, workers: int = 1) -> BuildSummary:
    """Go on with a build that was stopped, failed or crashed."""
    from lit.processors.build import resume as run

    with _broker() as (settings, bootstrap):
        workspace = Workspace(settings.data, team)
        return run(workspace, number, bootstrap, workers=workers, replication=settings.replication)


def builds(team: str) -> list[BuildView]:
    """Return a team's builds with their progress, newest first."""
    from lit.processors.progress import list_builds

    return list_builds(workspace_of(team))


def stop(team: str, number: int) -> None:
    """Stop a running build; its finished chunks stay."""
    from lit.processors.progress import stop_build

    stop_build(workspace_of(team), number)


@contextmanager
def _broker() -> Iterator[tuple[Settings, Any]]:
    from lit.streams.broker import kafka

    settings = Settings()
    with kafka(settings.data, settings.kafka) as bootstrap:
        yield settings, bootstrap
