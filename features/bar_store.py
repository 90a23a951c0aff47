"""Closed bars that grow at their end: adding one copies that one, however many there are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.features.bars import NO_BARS, Bars

_COLUMNS = tuple(field.name for field in fields(Bars))
#: Bars that there is room for at first.
_ROOM = 32


class BarStore:
    """Bars of one symbol and interval in arrays with room at their end.

    Parameters
    ----------
    bars
        Those to begin with.

    Attributes
    ----------
    bars
        All that are kept: a view of the arrays, whose rows never change once they are in it.
    """

    def __init__(self, bars: Bars = NO_BARS) -> None:
        self.bars = bars
        self._arrays = _arrays(bars)

    def append(self, bars: Bars) -> None:
        """Add bars that follow."""
        have, need = len(self.bars), len(self.bars) + len(bars)
        if need > len(self._arrays[0]):
            self._arrays = [_with_room(array, max(_ROOM, need + need // 2)) for array in _arrays(self.bars)]
        for array, added in zip(self._arrays, _arrays(bars), strict=True):
            array[have:need] = added
        self.bars = Bars(*(array[:need] for array in self._arrays))

    def drop(self, count: int) -> None:
        """Let the first bars go."""
        self.bars = Bars(*(array[count:].copy() for array in _arrays(self.bars)))
        self._arrays = _arrays(self.bars)


def _arrays(bars: Bars) -> list[npt.NDArray[Any]]:
    return [getattr(bars, name) for name in _COLUMNS]


def _with_room(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    grown = np.empty((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
