"""What a feature reads at one sample: an adapter that notes each read, and which of them reach beyond the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lit.streams.tick import Float64Array, Int64Array


@dataclass(frozen=True, slots=True)
class Read:
    """One read, written as the script could have written it; `i` is the sample.

    Parameters
    ----------
    text
        Such as `get_bars(i, 100, 'minute', 1)`.
    beyond
        Whether it may tell something of ticks after `i`.
    declared
        Whether it says so: `future=True`.
    """

    text: str
    beyond: bool = False
    declared: bool = False


class Spy:
    """An adapter (`TradersBaseAdapter`) around another one, for one sample at a time.

    Parameters
    ----------
    adapter
        What is read.
    index
        The sample.
    """

    def __init__(self, adapter: Any, index: int) -> None:
        self._adapter = adapter
        self._index = index
        self._reads: dict[Read, None] = {}

    @property
    def reads(self) -> list[Read]:
        """Reads so far, each once, in order."""
        return list(self._reads)

    def __len__(self) -> int:
        self._note(Read("len(adapter)", beyond=True))
        return len(self._adapter)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self._note(Read(f"adapter[{self._relative(index)}]", beyond=index > self._index))
        return self._adapter[index]  # type: ignore[no-any-return]

    def column(self, name: str, indices: Int64Array) -> npt.NDArray[Any]:
        """Read one field of many ticks."""
        wanted = np.asarray(indices)
        if wanted.size:
            span = f"{self._relative(wanted.min())} … {self._relative(wanted.max())}"
            self._note(Read(f"column({name!r}, {span})", beyond=bool(wanted.max() > self._index)))
        return self._adapter.column(name, indices)

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> Float64Array:
        """Read bars."""
        self._note_bars("get_bars", index, count, unit, size, future, prevent_lookahead_bias)
        return self._adapter.get_bars(index, count, unit, size, future, prevent_lookahead_bias)  # type: ignore[no-any-return]

    def get_bars_batch(
        self,
        indices: Int64Array,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[Float64Array, Int64Array]:
        """Read bars of many indices."""
        for index in np.asarray(indices).tolist():
            self._note_bars("get_bars_batch", index, count, unit, size, future, prevent_lookahead_bias)
        return self._adapter.get_bars_batch(indices, count, unit, size, future, prevent_lookahead_bias)  # type: ignore[no-any-return]

    def _note_bars(
        self, name: str, index: int, count: int, unit: str, size: float, future: bool, prevent: bool
    ) -> None:
        options = (", future=True" if future else "") + ("" if prevent else ", prevent_lookahead_bias=False")
        text = f"{name}({self._relative(index)}, {count}, {unit!r}, {size}{options})"
        self._note(Read(text, bool(future or not prevent or index > self._index), bool(future)))

    def _note(self, read: Read) -> None:
        self._reads[read] = None

    def _relative(self, index: Any) -> str:
        apart = int(index) - self._index
        return "i" if apart == 0 else f"i {'+' if apart > 0 else '-'} {abs(apart)}"
