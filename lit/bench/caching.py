"""Caching a file (its check, Kafka, the store) against decoding it alone, both on the sample trades repeated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lit.bench.ingest import long_file
from lit.demo import SAMPLES
from lit.sdk.data.caching import cache
from lit.settings import Settings
from lit.streams.ingest import FileReport, read_ticks, verified
from lit.streams.sources import load_adapter
from lit.streams.workspace import Workspace

TEAM, ADAPTER = "bench", "refinitiv"


def caching_ratio(settings: Settings, times: int = 2) -> dict[str, Any]:
    """Return ticks a second of both and their ratio; decoding alone is timed twice and the better run counts."""
    workspace = Workspace(settings.data, TEAM)
    path = workspace.folder("raw") / f"repeated_{time.time_ns()}.csv.gz"
    long_file(sorted(SAMPLES.glob("BAC*.csv.gz")), path, times)
    try:
        decoded = min(_decode(workspace, path) for _ in range(2))
        began = time.perf_counter()
        (entry,) = cache(TEAM, ADAPTER, [path], settings=settings)
        cached = time.perf_counter() - began
    finally:
        path.unlink()
    return {
        "cache_over_decode_alone": round(decoded / cached, 3),
        "ticks_per_second": {"decode": round(entry.ticks / decoded), "cache": round(entry.ticks / cached)},
    }


def _decode(workspace: Workspace, path: Path) -> float:
    adapter = load_adapter(workspace, ADAPTER)
    began = time.perf_counter()
    file = verified(path, adapter)
    quarantine = workspace.folder("logs") / "decoded"
    for _ in read_ticks(file, adapter, quarantine, FileReport(path)):
        pass
    return time.perf_counter() - began
