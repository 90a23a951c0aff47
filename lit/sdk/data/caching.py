"""Caching from this process: files into the store, through Kafka; with or without a running `lit up`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

from lit.settings import Settings
from lit.streams import topics
from lit.streams.broker import kafka
from lit.streams.cache import CachedFile, await_cached
from lit.streams.caching import Status, Wish, run, want, wish_of
from lit.streams.errors import UserError
from lit.streams.store import TickStore
from lit.streams.store_open import open_store, running_server
from lit.streams.workspace import Workspace

OnStatus = Callable[[Wish, Status], None]


def cache(
    team: str,
    adapter: str,
    paths: Sequence[Path],
    parameters: Mapping[str, Any] | None = None,
    *,
    settings: Settings | None = None,
    halt: Event | None = None,
    on_status: OnStatus = lambda _wish, _status: None,
) -> list[CachedFile]:
    """Cache files one after another; what is there already is not sent again.

    Parameters
    ----------
    team, adapter, parameters
        Whose, and how they are read.
    paths
        The files.
    settings
        Configuration; None: read anew.
    halt
        Set it to stop.
    on_status
        Is told how far a file is.

    Raises
    ------
    UserError
        If a file is missing, broken or not what the adapter reads.
    CachingStoppedError
        If it was stopped.
    FaultError
        If Kafka or the store fail.
    """
    settings = settings or Settings()
    workspace = Workspace(settings.data, team)
    wanted = [want(workspace, path.absolute(), adapter, parameters) for path in paths]
    return _run(settings, workspace, wanted, halt, on_status)


def cache_wish(team: str, key: str, settings: Settings, halt: Event) -> CachedFile:
    """Cache what a wish names, as the server's worker does.

    Raises
    ------
    UserError
        If there is no such wish, or as `cache`.
    """
    workspace = Workspace(settings.data, team)
    wish = wish_of(workspace, key)
    if wish is None:
        raise UserError(f"team {team!r} wants no caching {key!r}: `lit files` lists what it wants")
    return _run(settings, workspace, [wish], halt, lambda _wish, _status: None)[0]


def _run(
    settings: Settings, workspace: Workspace, wanted: Sequence[Wish], halt: Event | None, on_status: OnStatus
) -> list[CachedFile]:
    entries = []
    with kafka(settings.data, settings.kafka) as bootstrap, ExitStack() as opened:
        stores: list[TickStore] = []

        def store() -> TickStore:  # opened when it is needed: in the embedded case that takes a while
            if not stores:
                found = opened.enter_context(open_store(settings.data, settings.clickhouse))
                stores.append(found.team(workspace.team))
            return stores[0]

        for wish in wanted:
            topic = topics.file_ticks(workspace.team, wish.adapter)
            topics.create_topics(bootstrap, topic, replication=settings.replication)

            def stored(entry: CachedFile, topic: str = topic.name) -> CachedFile:
                if entry.cached:
                    return entry
                if not settings.clickhouse and not running_server(settings.data):
                    from lit.processors.drain import drain

                    drain(bootstrap, topic, entry.adapter, store())
                return await_cached(workspace, entry, store())

            entries.append(
                run(
                    workspace,
                    wish,
                    bootstrap,
                    topic.name,
                    stored,
                    halt=halt,
                    on_status=lambda status, wish=wish: on_status(wish, status),  # type: ignore[misc]
                )
            )
    return entries
