"""Shared by all tests: one embedded broker for the session, and a team's folder."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lit.streams import topics
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    from tests.market import Market


#: Topics that tests make have several partitions, as those have that workers share; what follows from them has as many.
topics.PARTITIONS = 4


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


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Messages of some uneven symbols, and what must come of them."""
    from tests.market import Market

    return Market(tmp_path_factory.mktemp("market"))


@pytest.fixture
def rng() -> random.Random:
    """Chooses stages and moments; the seed is printed."""
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    return random.Random(seed)
