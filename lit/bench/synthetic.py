"""Synthetic trades for rehearsals: a random walk with lulls, bursts, odd lots and late ticks, the same at every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SYMBOL = "SYN.N"
PARAMETERS = {"qualifiers": "qualifiers"}
PIECE = 1_000_000
#: Ticks of a day of 6.5 hours.
DAY_TICKS = 130_000

_SECOND = 1_000_000_000
_FIRST_OPEN = 1_451_917_800 * _SECOND  # 2016-01-04 09:30 in New York
_QUALIFIERS = pa.array(["@[GV4_TEXT]", "@  I[GV4_TEXT]", "ODD[IRGCOND];@  I[GV4_TEXT]", "Q[GV3_FLAG];@F[GV4_TEXT]"])


def write_file(path: Path, first: int, ticks: int) -> None:
    """Write ticks first…first + ticks − 1 of the sequence as a Parquet file; it is there whole or not at all.

    Parameters
    ----------
    first, ticks
        Multiples of `PIECE`.
    """
    part = path.with_suffix(".part")
    writer: pq.ParquetWriter | None = None
    for start in range(first, first + ticks, PIECE):
        table = _piece(start, min(PIECE, first + ticks - start))
        writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    part.replace(path)


def _piece(first: int, count: int) -> pa.Table:
    chance = np.random.default_rng(first)
    index = np.arange(first, first + count)
    day, place = index // DAY_TICKS, index % DAY_TICKS
    # Within a day, time goes on in proportion to the place, unevenly: 6.5 hours; one tick in 5,000 is late by seconds.
    share = place / DAY_TICKS + 0.02 * np.sin(place / 9000.0)
    stamps = _FIRST_OPEN + day * 86_400 * _SECOND + (np.clip(share, 0, 1) * 23_400 * _SECOND).astype(np.int64)
    stamps += chance.integers(0, 20_000_000, count)
    stamps -= np.where(chance.random(count) < 2e-4, chance.integers(1, 90, count) * _SECOND, 0)
    price = np.round(100 + 20 * np.sin(index / 3.0e6) + np.cumsum(chance.normal(0, 0.002, count)), 2)
    odd = chance.random(count) < 0.3
    volume = np.where(odd, chance.integers(1, 100, count), 100 * chance.geometric(0.4, count)).astype(np.float64)
    volume[chance.random(count) < 1e-4] *= 500
    kinds = np.where(odd, 2, np.where(chance.random(count) < 0.02, 3, chance.integers(0, 2, count)))
    return pa.table(
        {
            "timestamp": pa.array(stamps),
            "symbol": pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([SYMBOL])),
            "price": pa.array(price),
            "volume": pa.array(volume),
            "qualifiers": pa.DictionaryArray.from_arrays(pa.array(kinds.astype(np.int32)), _QUALIFIERS),
        }
    )
