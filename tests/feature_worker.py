"""A feature worker of a build as a process of its own, for tests: `python -m tests.feature_worker BOOTSTRAP DATA`."""

from __future__ import annotations

import sys
from pathlib import Path

from lit.features.dataset import Segment
from lit.features.library import load_features
from lit.features.schema import Schema
from lit.processors.app import run
from lit.processors.features import BuildJob, features_app
from lit.streams.workspace import Workspace
from tests.tape import real_ticks

NAMES = ["bars", "per_minute", "up"]
SYMBOLS = ("IBM.N", "BAC.N")


def job(bootstrap: str, data: Path) -> BuildJob:
    """Two symbols of one day, as one dataset."""
    return BuildJob(
        bootstrap,
        f"lit.demo.build.{data.name}",
        f"lit.demo.ticks.build-{data.name}",
        Schema("small", ["IBM", "BAC"], NAMES),
        tuple(Segment(symbol, len(real_ticks(symbol, 1))) for symbol in SYMBOLS),
        data / "chunks",
    )


if __name__ == "__main__":
    bootstrap, data = sys.argv[1], Path(sys.argv[2])
    run(features_app(job(bootstrap, data), load_features(Workspace(data, "demo"), NAMES)))
