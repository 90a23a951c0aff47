"""Shared by all tests: one embedded broker for the session, and a team's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lit.streams.workspace import Workspace


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a broker that the whole session shares: give topics a team name of your own."""
    from lit.streams.broker import kafka as broker

    with broker(tmp_path_factory.mktemp("broker"), None) as bootstrap:
        yield bootstrap


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Folder of a team named demo under a fresh data root."""
    return Workspace(tmp_path, "demo")
