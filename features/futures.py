"""Other futures for a tape: what happened up to a tick stays to the bit, what follows is changed, each time otherwise.

Also the made-up tapes that features are judged on where no data is at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lit.features.dataset import DatasetAdapter
from lit.streams.tick import TickBlock, tick_block

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
Columns = dict[str, npt.NDArray[Any]]
Change = Callable[[Columns, int, np.random.Generator], Columns]


def _noise(name: str) -> Change:
    def change(ticks: Columns, _now: int, rng: np.random.Generator) -> Columns:
        return {**ticks, name: ticks[name] * rng.uniform(0.8, 1.25, len(ticks[name]))}

    return change


def _scaled(name: str, factor: float) -> Change:
    return lambda ticks, _now, _rng: {**ticks, name: ticks[name] * factor}


def _at_once(ticks: Columns, now: int, _rng: np.random.Generator) -> Columns:
    return {**ticks, "timestamp": np.full(len(ticks["timestamp"]), now)}


def _later(ticks: Columns, _now: int, _rng: np.random.Generator) -> Columns:
    return {**ticks, "timestamp": ticks["timestamp"] + _DAY}


def _stretched(ticks: Columns, now: int, _rng: np.random.Generator) -> Columns:
    return {**ticks, "timestamp": now + (ticks["timestamp"] - now) * 7}


def _sessions(ticks: Columns, _now: int, _rng: np.random.Generator) -> Columns:
    return {**ticks, "session": (ticks["session"] + 1) % 3}


def _deleted(ticks: Columns, _now: int, _rng: np.random.Generator) -> Columns:
    return {name: values[:0] for name, values in ticks.items()}


def _thinned(ticks: Columns, _now: int, rng: np.random.Generator) -> Columns:
    kept = rng.random(len(ticks["Price"])) < 0.5
    return {name: values[kept] for name, values in ticks.items()}


def _inserted(ticks: Columns, now: int, _rng: np.random.Generator) -> Columns:
    """Three trades at the very time of the sample, at prices far off."""
    level = float(ticks["Price"][0]) if len(ticks["Price"]) else 100.0
    fresh = {
        "timestamp": [now] * 3,
        "Price": [level * 9, level / 9, level * 2],
        "Volume": [1e6] * 3,
        "session": [2, 0, 1],
    }
    return {name: np.concatenate([np.array(fresh[name], ticks[name].dtype), ticks[name]]) for name in ticks}


#: What is done to the ticks after a sample: name → change.
CHANGES: dict[str, Change] = {
    "prices disturbed": _noise("Price"),
    "prices 1000 times higher": _scaled("Price", 1000.0),
    "prices 1000 times lower": _scaled("Price", 0.001),
    "volumes disturbed": _noise("Volume"),
    "volumes 1000 times larger": _scaled("Volume", 1000.0),
    "volumes 1000 times smaller": _scaled("Volume", 0.001),
    "all trades at once": _at_once,
    "all trades a day later": _later,
    "times stretched": _stretched,
    "sessions changed": _sessions,
    "no trade follows": _deleted,
    "half of the trades missing": _thinned,
    "trades inserted": _inserted,
}
#: Those that change when trades happen, or whether; a sampler may go by them.
OF_TIME = frozenset(list(CHANGES)[-7:]) - {"sessions changed"}


def with_other_future(tape: TickBlock, index: int, change: str, seed: int = 0) -> DatasetAdapter:
    """Return the dataset of a tape whose ticks after `index` are changed.

    Parameters
    ----------
    tape
        The ticks of one symbol, from index 0.
    index
        Last tick that stays.
    change
        One of `CHANGES`.
    seed
        Decides random changes, together with `index`.
    """
    tail = tape.slice(index + 1)
    ticks: Columns = {
        name: tail.batch.column(name).to_numpy(zero_copy_only=False)
        for name in ("timestamp", "Price", "Volume", "session")
    }
    changed = CHANGES[change](ticks, int(tape.timestamp[index]), np.random.default_rng((seed, index)))
    return DatasetAdapter.of_blocks([tape.slice(0, index + 1), _tail(tail, changed)])


def _tail(tail: TickBlock, changed: Columns) -> TickBlock:
    """Put changed columns into a block; all others are as long as needed and say something else."""
    count = len(changed["Price"])
    fresh = tick_block(
        tail.symbol,
        tail.first_index,
        changed["timestamp"],
        changed["Price"],
        changed["Volume"],
        seq_no=pa.array(np.arange(count) + 10**9),
        session=changed["session"].astype(np.uint8),
        qualifiers=pa.array(["changed"] * count, pa.utf8()),
        origin=tail.origin,
    )
    extras = tail.batch.schema.names[fresh.batch.num_columns :]
    rows = pa.array(np.arange(count)[::-1] % max(len(tail), 1))
    columns = [*fresh.batch.columns, *(tail.batch.column(name).take(rows) for name in extras)] if count else None
    batch = tail.batch.slice(0, 0) if columns is None else pa.RecordBatch.from_arrays(columns, schema=tail.batch.schema)
    return TickBlock(tail.symbol, tail.first_index, batch, tail.origin)


def made_up_tapes(count: int = 12_000) -> list[TickBlock]:
    """Return three tapes that differ in pace (hours, a week, a year), price and size; with ties, gaps, all sessions."""
    return [
        _tape(count, 2 * _SECOND, 100.0, 250),
        _tape(count, 60 * _SECOND, 3000.0, 25_000),
        _tape(count, 3600 * _SECOND, 5.0, 2_500_000),
    ]


def _tape(count: int, pace: int, price: float, size: int) -> TickBlock:
    rng = np.random.default_rng(pace)
    gaps = (rng.exponential(1.0, count) * pace).astype(np.int64) * (rng.random(count) > 0.3)
    stamps = 1_381_104_000 * _SECOND + np.cumsum(gaps)
    prices = price * np.exp(np.cumsum(rng.normal(0, 2e-4, count)))
    steps = np.round(prices / price * 10_000) * price / 10_000  # prices repeat, as those of a market do
    hours = stamps // (3600 * _SECOND) % 24
    return tick_block(
        "MADE-UP",
        0,
        stamps,
        steps,
        rng.integers(1, 2 * size, count),
        seq_no=pa.array(np.arange(count)),
        session=np.where(hours < 13, 1, np.where(hours < 20, 0, 2)).astype(np.uint8),
        qualifiers=pa.array(rng.choice(["", "ODD", "T"], count)),
    )
