"""Tapes for tests: generated ones (hypothesis) and the real sample files, read by means of their own."""

from __future__ import annotations

import gzip
import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import strategies as st

from lit.streams.tick import TickBlock, tick_block

SAMPLES = Path(__file__).parent.parent / "examples" / "data"
SECOND = 1_000_000_000


@lru_cache(maxsize=4)
def real_ticks(symbol: str, days: int = 5) -> TickBlock:
    """All trades of a sample symbol as one block."""
    frames = []
    for path in sorted(SAMPLES.glob(f"{symbol}_*.csv.gz"))[:days]:
        frame = pl.read_csv(gzip.decompress(path.read_bytes()), infer_schema_length=0)
        frames.append(
            frame.select(
                pl.col("Date-Time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns").cast(pl.Int64),
                pl.col("Price").cast(pl.Float64),
                pl.col("Volume").cast(pl.Float64),
            )
        )
    table = pl.concat(frames)
    return tick_block(symbol, 0, *(table[name].to_numpy() for name in ("Date-Time", "Price", "Volume")))


@st.composite
def tapes(draw: st.DrawFn, min_size: int = 1, max_size: int = 60) -> TickBlock:
    """Short tapes with ties, gaps, late ticks and fractional sizes."""
    count = draw(st.integers(min_size, max_size))
    steps = draw(
        st.lists(
            st.sampled_from([0, 1, 7 * SECOND, 20 * SECOND, 61 * SECOND, -15 * SECOND, -130 * SECOND]),
            min_size=count,
            max_size=count,
        )
    )
    start = draw(st.integers(1_381_000_000, 1_381_090_000)) * SECOND
    prices = draw(st.lists(st.integers(1, 400), min_size=count, max_size=count))
    volumes = draw(st.lists(st.sampled_from([0.1, 0.7, 1.0, 100.0, 3.3e7]), min_size=count, max_size=count))
    return tick_block("XYZ", 0, start + np.cumsum(steps), np.array(prices) / 7, volumes)


def cuts(count: int) -> st.SearchStrategy[list[int]]:
    """Places to cut a tape at, ascending."""
    return st.lists(st.integers(0, count), max_size=8).map(sorted)


def cut(block: TickBlock, places: list[int]) -> list[TickBlock]:
    """Cut a block at those positions; empty blocks stay."""
    edges = [0, *places, len(block)]
    return [block.slice(low, high) for low, high in itertools.pairwise(edges)]
