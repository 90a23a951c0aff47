"""What the SDK has open for the life of the process: the tick store and, where it caches files, the broker."""

from __future__ import annotations

import atexit
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from lit.settings import Settings
from lit.streams.store import Stores, TickStore
from lit.streams.store_open import open_store, running_server

_lock = threading.Lock()
_stack = ExitStack()
_stores: dict[tuple[Path, str | None, tuple[str, str] | None], Stores] = {}
_brokers: dict[Path, str] = {}


def opened_stores(settings: Settings) -> Stores:
    """Return the stores: ClickHouse's, a running `lit up`'s, or the embedded engine's, opened now.

    Raises
    ------
    FaultError
        If another process has the embedded engine open.
    """
    data = settings.data.resolve()
    # A `lit up` that was started anew is another server: what was opened for the last is not used again.
    key = (data, settings.clickhouse, None if settings.clickhouse else running_server(data))
    with _lock:
        if key not in _stores:
            _stores[key] = _stack.enter_context(open_store(data, settings.clickhouse))
        return _stores[key]


def current_store(settings: Settings, team: str) -> TickStore:
    """Return a team's store that is found anew at each use: `lit up` may end, or start, while a notebook lives."""
    return cast(TickStore, _Current(settings, team))


class _Current:
    def __init__(self, settings: Settings, team: str) -> None:
        self._settings, self._team = settings, team

    def __getattr__(self, name: str) -> Any:
        return getattr(opened_stores(self._settings).team(self._team), name)


def opened_broker(settings: Settings) -> Settings:
    """Return the settings with a broker that runs: one that is given or a server's, or an embedded one, started now."""
    data = settings.data.resolve()
    if settings.kafka or running_server(data):
        return settings
    from lit.streams.broker import kafka

    with _lock:
        if data not in _brokers:
            _brokers[data] = _stack.enter_context(kafka(data, None))
        return settings.model_copy(update={"kafka": _brokers[data]})


def close() -> None:
    """Close what is open, so that another process may open it; what is used after that opens it again."""
    with _lock:
        _stores.clear()
        _brokers.clear()
        _stack.close()


atexit.register(close)
