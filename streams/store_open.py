"""Opens the tick store in whichever way fits: a server's, the running LIT's, or the embedded engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import psutil

from lit.streams.store import Stores


def running_server(data: Path) -> tuple[str, str] | None:
    """Return (url, admin token) of the LIT server that runs over `data`, or None."""
    folder = data / ".lit"
    try:
        state = json.loads((folder / "server.json").read_text())
        if psutil.Process(state["pid"]).create_time() != state["create_time"]:
            return None
        return str(state["url"]), (folder / "token").read_text().strip()
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


@contextlib.contextmanager
def open_store(data: Path, clickhouse: str | None) -> Iterator[Stores]:
    """Yield the stores of all teams.

    Parameters
    ----------
    data
        The data root.
    clickhouse
        DSN of a ClickHouse server; None: the running LIT server's store, else chDB in this process.

    Raises
    ------
    FaultError
        If the server does not answer, or another process has the embedded store open.
    """
    if clickhouse:
        from lit.streams.store_clickhouse import open_server

        with open_server(clickhouse) as stores:
            yield stores
    elif server := running_server(data):
        from lit.streams.store_http import HttpStores

        remote = HttpStores(*server)
        try:
            yield remote
        finally:
            remote.close()
    else:
        from lit.streams.store_clickhouse import open_embedded

        with open_embedded(data) as stores:
            yield stores
