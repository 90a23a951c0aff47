"""A feature worker of a build as a process of its own, for tests: `python -m tests.feature_worker BOOTSTRAP DATA`."""

from __future__ import annotations

import sys
from pathlib import Path

from lit.features.library import load_features
from lit.features.schema import Schema
from lit.processors.app import run
from lit.processors.chunks import BuildJob
from lit.processors.features import FeatureWorker, features_app
from lit.processors.job import FrozenJob, freeze, versions
from lit.streams.workspace import Workspace
from tests.tape import real_ticks

NAMES = ["bars", "per_minute", "up"]
SYMBOLS = ("IBM.N", "BAC.N")


def job(bootstrap: str, data: Path) -> BuildJob:
    """Two symbols of one day, as one dataset."""
    features = load_features(Workspace(data, "demo"), NAMES)
    segments = [(symbol, len(real_ticks(symbol, 1))) for symbol in SYMBOLS]
    schema = Schema("small", ["IBM", "BAC"], NAMES)
    frozen = FrozenJob(1, schema, {}, "", freeze(features), segments, versions(), ["IBM", "BAC"], chunk_ticks=30_000)
    return BuildJob(
        bootstrap,
        f"lit.demo.build.{data.name}",
        f"lit.demo.ticks.build-{data.name}",
        frozen,
        data / "chunks",
        data / "before",
        data / "quarantine.jsonl",
    )


if __name__ == "__main__":
    bootstrap, data = sys.argv[1], Path(sys.argv[2])
    run(features_app(FeatureWorker(job(bootstrap, data))))
