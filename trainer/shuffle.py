"""In which order an epoch meets its samples: a pure function of seed and epoch, of which only a part is held at a time.

Rows of a file are cut into blocks of neighbours, the blocks are permuted over the whole file, and as many of them as
fit a buffer (a window) are shuffled together. With all samples in one window that is a uniform permutation. With
more, each window is a cluster sample of blocks from anywhere in the file: the mean of a batch of b samples varies as
that of about b / (1 + (b - 1) c) independent ones, c = (block - 1) / (window - 1) being the chance that two samples of
a window are of the same block (Kish's design effect for blocks of equal samples, the worst case). At the defaults,
with samples of 3 kB, c is 0.3 %: a batch of 32 is worth 29 or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError

#: Rows read together; neighbours in a file are similar, so blocks are small against a buffer.
BLOCK_ROWS = 256

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several workers that share an epoch: each block is read by exactly one of them.

    Attributes
    ----------
    number, count : int
        Which worker, from 0, and of how many.
    """

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise UserError(f"shard {self.number} of {self.count} cannot be: number shards from 0 to count - 1")


class EpochOrder:
    """The order of one epoch, of one worker.

    Parameters
    ----------
    samples
        How many samples, or (ascending) the rows of those to take.
    seed, epoch
        Decide the order.
    window_rows
        Samples held at a time.
    shard
        Whose part of the epoch; the others' blocks are left out.
    """

    def __init__(
        self, samples: int | Rows, seed: int, epoch: int, window_rows: int, shard: Shard | None = None
    ) -> None:
        self._rows = None if isinstance(samples, int) else samples
        self._count = samples if isinstance(samples, int) else len(samples)
        self._key = [seed, epoch]
        self._block = max(1, min(BLOCK_ROWS, window_rows // 8))
        shard = shard or Shard()
        blocks = -(-self._count // self._block)
        self._order = np.random.default_rng(self._key).permutation(blocks)[shard.number :: shard.count]
        self._blocks_a_window = max(1, window_rows // self._block)
        short = -self._count % self._block  # rows that the file's last block lacks
        self._short_at = int(np.flatnonzero(self._order == blocks - 1)[0]) if short and self._has(blocks - 1) else -1
        self._held: tuple[int, Rows] | None = None
        self._length = len(self._order) * self._block - (short if self._short_at >= 0 else 0)

    def __len__(self) -> int:
        return self._length

    def windows(self, skip: int = 0) -> Iterator[Rows]:
        """Yield the rows in their order, a window at a time, without the first `skip`."""
        for number in range(-(-len(self._order) // self._blocks_a_window)):
            size = self._size(number)
            if skip < size:
                yield self._window(number)[skip:]
            skip = max(0, skip - size)

    def rows(self, start: int, stop: int) -> Rows:
        """Return the rows at places `start`…`stop` of the order."""
        parts = []
        for window in self.windows(start):
            parts.append(window[: stop - start])
            start += len(parts[-1])
            if start >= stop:
                break
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _has(self, block: int) -> bool:
        return bool((self._order == block).any())

    def _size(self, number: int) -> int:
        first = number * self._blocks_a_window
        blocks = min(self._blocks_a_window, len(self._order) - first)
        short = -self._count % self._block if first <= self._short_at < first + blocks else 0
        return blocks * self._block - short

    def _window(self, number: int) -> Rows:
        held = self._held
        if held is None or held[0] != number:  # kept: batches of a window are mostly asked for one after another
            self._held = held = (number, self._shuffled(number))
        return held[1]

    def _shuffled(self, number: int) -> Rows:
        first = number * self._blocks_a_window
        starts = self._order[first : first + self._blocks_a_window] * self._block
        parts = [np.arange(start, min(start + self._block, self._count)) for start in starts.tolist()]
        places = np.concatenate(parts)
        window = places if self._rows is None else self._rows[places]
        np.random.default_rng([*self._key, number + 1]).shuffle(window)
        return window
