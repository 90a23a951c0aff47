"""What adapters of tables with freely named columns share: which columns they read, and their ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lit.streams.ingest_rows import Rows
from lit.streams.sessions import session_codes


def mapped_columns(
    *,
    time: str,
    price: str,
    volume: str,
    symbol: str,
    ticker: str,
    sequence: str,
    qualifiers: str,
    keep: Sequence[str],
    date: str = "",
) -> dict[str, str]:
    """Return column → kind; parameters as in `mapped_ticks`, an empty name stands for no column."""
    kinds = {time: "time", date: "time", price: "number", volume: "number", "" if ticker else symbol: "text"}
    kinds |= {qualifiers: "text", sequence: "integer"} | dict.fromkeys(keep, "text")
    return {name: kind for name, kind in kinds.items() if name}


def mapped_ticks(
    rows: Rows,
    times: npt.NDArray[np.int64],
    *,
    price: str,
    volume: str,
    symbol: str,
    ticker: str,
    sequence: str,
    qualifiers: str,
    keep: Sequence[str],
    exchange: str,
) -> dict[str, Any]:
    """Return the ticks of rows; those without a positive, finite price and volume are refused.

    Parameters
    ----------
    times
        ns since the epoch, UTC.
    price, volume, symbol, sequence, qualifiers
        Names of columns; `sequence` and `qualifiers` may be empty: there are none.
    ticker
        The instrument where no column says it.
    keep
        Further columns to keep under their names.
    exchange
        Calendar that tells the regular hours; empty: all are regular.
    """
    for name in (price, volume):
        rows.reject(rows.blank(name), f"{name} is missing")
        rows.reject(~(np.isfinite(rows.numbers(name)) & (rows.numbers(name) > 0)), f"{name} is not positive")
    ticks = {
        "symbol": pa.array([ticker] * len(rows), pa.utf8()) if ticker else rows[symbol],
        "timestamp": times,
        "Price": rows[price],
        "Volume": rows[volume],
        "session": session_codes(exchange, times) if exchange else np.zeros(len(rows), np.uint8),
    }
    ticks |= {target: rows[name] for target, name in (("Seq. No.", sequence), ("Qualifiers", qualifiers)) if name}
    return ticks | {name: rows[name] for name in keep}
