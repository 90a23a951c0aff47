"""Samples whose script failed: put aside in a file, or the end of the build, as the user chose."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from lit.features.engine import SampleError

log = logging.getLogger("data_worker")
#: Failures that are told one by one in the log; all are in the file.
_TOLD = 20


class FailedSample(msgspec.Struct, frozen=True):
    """A line of `logs/{build}/quarantine.jsonl`.

    Parameters
    ----------
    index
        The sample in the dataset.
    symbol, position
        Whose tick it is, and which one of that symbol's sequence.
    """

    index: int
    symbol: str
    position: int
    feature: str
    script: str
    line: int | None
    error: str


class PutAside:
    """Decides about failures, and writes those down that do not end the build.

    Parameters
    ----------
    path
        The file; made with the first failure.
    going_on
        Whether the build goes on without such samples.
    """

    def __init__(self, path: Path, going_on: bool) -> None:
        self._path, self._going_on = path, going_on
        self._positions: list[int] = []

    def __call__(self, error: SampleError, index: int) -> bool:
        """Take a failure; False: the build ends, and `error` tells its sample too."""
        where = f"sample {index} ({error.symbol} tick {error.index}), feature {error.feature!r}: "
        sentence = str(error)
        if not self._going_on:
            error.args = (where + sentence,)
            return False
        self._positions.append(error.index)
        failed = FailedSample(index, error.symbol, error.index, error.feature, error.script, error.line, sentence)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(failed) + b"\n")
        if len(self._positions) <= _TOLD:
            log.warning("put aside: %s%s", where, sentence)
        return True

    def count(self, first: int, stop: int) -> int:
        """Return how many samples at positions `first`…`stop` were put aside."""
        return sum(first <= position < stop for position in self._positions)


def read_put_aside(path: Path) -> list[FailedSample]:
    """Return the failed samples of a build, each once: a restarted worker meets them again."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found: dict[tuple[int, str], FailedSample] = {}
    for line in lines:
        try:
            one = msgspec.json.decode(line, type=FailedSample)
        except msgspec.MsgspecError:
            continue  # cut short by a kill
        found[(one.index, one.feature)] = one
    return sorted(found.values(), key=lambda one: one.index)
