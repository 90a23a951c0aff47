"""The store's summary: extremes of every 1,024 ticks, so that a view of hundreds of millions reads thousands of rows.

An entry may be written twice, or before its ticks are there; minima and maxima do not mind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lit.streams.store import BUCKET_TICKS
from lit.streams.tick import TickBlock

BUCKETS_TABLE = """
CREATE TABLE IF NOT EXISTS tick_buckets (
    team LowCardinality(String), source LowCardinality(String), origin LowCardinality(String),
    symbol LowCardinality(String),
    bucket Int64 CODEC(Delta, ZSTD(1)),
    earliest SimpleAggregateFunction(min, Int64), latest SimpleAggregateFunction(max, Int64),
    low SimpleAggregateFunction(min, Float64), high SimpleAggregateFunction(max, Float64),
    smallest SimpleAggregateFunction(min, Float64), largest SimpleAggregateFunction(max, Float64)
) ENGINE = AggregatingMergeTree ORDER BY (team, source, origin, symbol, bucket)
SETTINGS non_replicated_deduplication_window = 0
"""
#: Summarises ticks that were stored before there was a summary.
BACKFILL = f"""
INSERT INTO tick_buckets SELECT team, source, origin, symbol, intDiv(idx, {BUCKET_TICKS}) AS bucket,
    min(timestamp), max(timestamp), min(price), max(price), min(volume), max(volume)
FROM ticks GROUP BY team, source, origin, symbol, bucket
"""


def bucket_rows(team: str, source: str, blocks: Sequence[TickBlock]) -> pa.Table:
    """Return the summary's rows of some blocks."""
    parts = [_rows(block) for block in blocks if len(block)]
    counts = [len(part[0]) for part in parts]
    owners = np.repeat(np.arange(len(parts)), counts)
    names = [block for block in blocks if len(block)]
    texts = {
        "team": pa.array([team] * len(owners), pa.utf8()),
        "source": pa.array([source] * len(owners), pa.utf8()),
        "origin": pa.array([block.origin for block in names], pa.utf8()).take(pa.array(owners)),
        "symbol": pa.array([block.symbol for block in names], pa.utf8()).take(pa.array(owners)),
    }
    fields = ("bucket", "earliest", "latest", "low", "high", "smallest", "largest")
    numbers = {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(fields)}
    return pa.table({**texts, **numbers})


def _rows(block: TickBlock) -> tuple[np.ndarray, ...]:
    first = block.first_index // BUCKET_TICKS
    buckets = np.arange(first, (block.next_index - 1) // BUCKET_TICKS + 1, dtype=np.int64)
    edges = np.maximum(buckets * BUCKET_TICKS - block.first_index, 0)
    low, high = np.minimum.reduceat, np.maximum.reduceat
    stamps, price, volume = block.timestamp, block.price, block.volume
    return (
        buckets, low(stamps, edges), high(stamps, edges), low(price, edges), high(price, edges),
        low(volume, edges), high(volume, edges),
    )  # fmt: skip
