"""A batch of columns, as an adapter's `batches` yields them, as rows with typed columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from lit.streams.errors import UserError
from lit.streams.ingest_rows import TYPES, Rows
from lit.streams.ingest_times import Mask, lenient_cast

#: Kinds whose columns are handed on as they are: `Rows.times` reads them by their own type.
_AS_IS = ("time", "clock")


def batch_rows(batch: pa.RecordBatch, first_row: int, columns: Mapping[str, str], name: str = "") -> Rows:
    """Take the columns that an adapter names.

    Parameters
    ----------
    first_row
        Number of the batch's first row in its file, from 1.
    columns
        Column → kind.

    Raises
    ------
    UserError
        If a column cannot be of its kind at all.
    """
    bad: list[tuple[Mask, str]] = []
    arrays: dict[str, pa.Array] = {}
    for column in columns:
        if column in batch.schema.names:
            arrays[column] = _cast(column, columns[column], batch.column(column), bad)
    metadata = {key.decode(): value.decode() for key, value in (batch.schema.metadata or {}).items()}
    return Rows(arrays, columns, batch.num_rows, name, _texts(batch, first_row), (), bad, metadata)


def _cast(column: str, kind: str, values: pa.Array, bad: list[tuple[Mask, str]]) -> pa.Array:
    if kind in _AS_IS:
        return values
    wanted = TYPES[kind]
    if values.type == wanted:
        return values
    if pa.types.is_dictionary(values.type) and kind != "text":
        values = values.cast(values.type.value_type)
    try:
        if kind == "text" and not pa.types.is_dictionary(values.type):
            values = values.cast(pa.utf8())
        found, worse = lenient_cast(values, wanted)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise UserError(f"column {column!r} holds {values.type}, which cannot be read as {kind}") from None
    if worse.any():
        bad.append((worse, f"{column} is not a {kind}"))
    return found


def _texts(batch: pa.RecordBatch, first_row: int) -> Callable[[Sequence[int]], list[tuple[int, str]]]:
    def texts(places: Sequence[int]) -> list[tuple[int, str]]:
        return [(first_row + place, _text(batch.slice(place, 1).to_pylist()[0])) for place in places]

    return texts


def _text(row: Mapping[str, Any]) -> str:
    return ",".join("" if value is None else str(value) for value in row.values())
