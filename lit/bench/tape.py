"""Long tapes for benchmarks: the sample ticks, repeated day after day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lit.streams.replay import ReplayProgress, blocks, plan_files
from lit.streams.tick import TickBlock, tick_block
from lit.streams.workspace import Workspace

_WEEK_NS = 7 * 86_400 * 1_000_000_000


def sample_ticks(workspace: Workspace, paths: list[Path]) -> dict[str, TickBlock]:
    """Return the ticks of sample files, one block a symbol."""
    parts: dict[str, list[TickBlock]] = {}
    for _, block in blocks(plan_files(workspace, "refinitiv", paths), ReplayProgress(0)):
        parts.setdefault(block.symbol, []).append(block)
    return {
        symbol: tick_block(
            symbol,
            0,
            *(np.concatenate([getattr(part, name) for part in own]) for name in ("timestamp", "price", "volume")),
        )
        for symbol, own in parts.items()
    }


def long_tape(tape: TickBlock, ticks: int, size: int) -> Iterator[TickBlock]:
    """Yield about `ticks` ticks in blocks of `size`: the tape again and again, a week later each time."""
    first = 0
    for week in range(-(-ticks // len(tape))):
        later = tick_block(tape.symbol, 0, tape.timestamp + week * _WEEK_NS, tape.price, tape.volume)
        for start in range(0, len(tape), size):
            part = later.slice(start, start + size)
            yield TickBlock(tape.symbol, first, part.batch)
            first += len(part)
