"""Blocks as they are received: Arrow IPC, of which kernels need three columns and seldom more.

Arrow takes some 15 us to read a block, and lets the interpreter go meanwhile, which threads that move messages are
waiting for: a live tick costs five times as much then. But a stream's blocks are of few forms. Where the columns lie is
told by the bytes that are not a column's data; so where these are as in a block that Arrow has read, the columns lie as
they did there (Arrow Columnar Format, "IPC Streaming Format": what a reader knows of a body, it knows from metadata).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lit.streams.tick import TICK_SCHEMA, TickBlock

#: Columns that have a value in every tick.
_FILLED = [place for place, field in enumerate(TICK_SCHEMA) if not field.nullable]
#: Columns that kernels read, each of 8 bytes a tick.
_KERNEL = {"timestamp": np.dtype(np.int64), "Price": np.dtype(np.float64), "Volume": np.dtype(np.float64)}
#: Larger blocks are few.
_LARGEST = 16_384
#: Forms that are remembered: of one length, and lengths.
_FORMS, _LENGTHS = 8, 1024


@dataclass(frozen=True, slots=True)
class _Form:
    """How blocks of one length may look: which bytes they share, how many ticks they have, where the columns begin."""

    shared: tuple[tuple[slice, bytes], ...]
    count: int
    places: dict[str, int]

    def fits(self, value: bytes) -> bool:
        return all(value[place] == content for place, content in self.shared)


class ReceivedBlock(TickBlock):
    """A block of a known form: what else than kernels' columns it holds is read when it is asked for."""

    __slots__ = ("_batch", "_form", "_value")
    _batch: pa.RecordBatch | None
    _form: _Form
    _value: bytes

    def __init__(self, symbol: str, first_index: int, origin: str, value: bytes, form: _Form) -> None:
        for name, given in (
            ("symbol", symbol),
            ("first_index", first_index),
            ("origin", origin),
            ("_value", value),
            ("_form", form),
            ("_batch", None),
        ):
            object.__setattr__(self, name, given)

    @property
    def batch(self) -> pa.RecordBatch:  # type: ignore[override]
        """All columns."""
        if self._batch is None:
            object.__setattr__(self, "_batch", read_batch(self._value))
        return self._batch

    def __len__(self) -> int:
        return self._form.count

    def _numpy(self, name: str) -> Any:
        return np.frombuffer(self._value, _KERNEL[name], self._form.count, self._form.places[name])


class BlockReader:
    """Reads blocks, and remembers forms."""

    def __init__(self) -> None:
        self._forms: dict[int, list[_Form]] = {}

    def read(self, symbol: str, first_index: int, origin: str, value: bytes) -> TickBlock:
        """Return the block that a message's value holds.

        Raises
        ------
        ValueError, pa.ArrowException, OSError
            If it holds none.
        """
        for known in self._forms.get(len(value), ()):
            if known.fits(value):
                return ReceivedBlock(symbol, first_index, origin, value, known)
        batch = read_batch(value)
        if len(value) <= _LARGEST and (form := _form(value, batch)) is not None:
            self._remember(len(value), form)
        return TickBlock(symbol, first_index, batch, origin)

    def _remember(self, length: int, form: _Form) -> None:
        if len(self._forms) >= _LENGTHS and length not in self._forms:
            del self._forms[next(iter(self._forms))]
        self._forms[length] = [form, *self._forms.get(length, [])[: _FORMS - 1]]


def read_batch(value: bytes) -> pa.RecordBatch:
    """Read a block's columns with Arrow.

    Raises
    ------
    ValueError, pa.ArrowException, OSError
        If they are not those of ticks.
    """
    try:
        batch = pa.ipc.open_stream(value).read_next_batch()  # of more than one, the count of ticks is not the header's
    except StopIteration:
        raise ValueError("no record batch") from None
    if not batch.schema.equals(TICK_SCHEMA):
        _check_columns(batch.schema)
    if any(batch.column(i).null_count for i in _FILLED):
        raise ValueError("null in a column that has a value in every tick")
    return batch


def _check_columns(schema: pa.Schema) -> None:
    expected = TICK_SCHEMA
    if schema.names[: len(expected.names)] != expected.names or any(
        schema.field(i).type != field.type for i, field in enumerate(expected)
    ):
        raise ValueError(f"columns {schema.names} do not begin with {expected.names}")


def _form(value: bytes, batch: pa.RecordBatch) -> _Form | None:
    """Return the form of a block, or None where its columns are not the value's bytes (empty, compressed)."""
    begin, size = pa.py_buffer(value).address, len(value)
    places = {}
    for name, dtype in _KERNEL.items():
        column = batch.column(name).buffers()[1]
        places[name] = column.address - begin if column is not None else -1
        if not 0 <= places[name] <= size - max(dtype.itemsize * batch.num_rows, 1):
            return None
    texts = [buffer for buffer in batch.column("Qualifiers").dictionary.buffers() if buffer is not None]
    data = [(buffer.address - begin, buffer.address - begin + buffer.size) for buffer in texts]
    shared = _between(sorted(piece for piece in data if piece[1] > piece[0]), min(places.values()))
    return _Form(tuple((place, value[place]) for place in shared), batch.num_rows, places)


def _between(data: Iterable[tuple[int, int]], end: int) -> list[slice]:
    """Return what lies before `end` and is none of the pieces of data."""
    found, begin = [], 0
    for first, stop in data:
        if begin <= first and stop <= end:
            found.append(slice(begin, first))
            begin = stop
    return [*found, slice(begin, end)]
