"""One sample of an asset, for people to look at: its values as tables, and where it came from."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from lit.streams.errors import UserError
from lit.streams.tick import iso
from lit.trainer.asset import Asset


class SampleTable(msgspec.Struct, frozen=True):
    """A feature of one sample: rows of columns; what is not finite is None in JSON."""

    columns: list[str]
    rows: list[list[float]]


class AssetSample(msgspec.Struct, frozen=True):
    """A sample: its number in the part, the tick that it was made at, its features; `packet` is that tick."""

    part: str
    number: int
    samples: int
    index: int | None
    timestamp: str | None
    symbol: str | None
    features: dict[str, SampleTable]
    packet: dict[str, Any] | None = None
    packet_error: str = ""


def random_number(part: Asset, seed: int) -> int:
    """Return the number of a sample drawn by a seed: the same seed, the same sample."""
    _check(part, 0)
    return int(np.random.default_rng(seed).integers(len(part)))


def sample_of(part: Asset, number: int) -> AssetSample:
    """Return a sample by its number in the part, from 0; negative ones count from the end.

    Raises
    ------
    UserError
        If the part has no such sample.
    """
    _check(part, number)
    number %= len(part)
    where = {name: part.read(name, number, number + 1)[0] for name in ("index", "timestamp", "symbol") if name in part}
    tables = {}
    for name, spec in part.features.items():
        values = part.read(name, number, number + 1)[0].reshape(-1, len(spec.columns))
        tables[name] = SampleTable(list(spec.columns), values.tolist())
    return AssetSample(
        part.path.stem,
        number,
        len(part),
        int(where["index"]) if "index" in where else None,
        iso(where["timestamp"]) if "timestamp" in where else None,
        str(where["symbol"]) if "symbol" in where else None,
        tables,
    )


def _check(part: Asset, number: int) -> None:
    if not -len(part) <= number < len(part):
        raise UserError(f"{part.path.name} has no sample {number}: it has {len(part):,}, numbered from 0")


def samples_table(part: Asset, start: int, stop: int) -> Any:
    """Return samples `start`…`stop` as a pyarrow table: a feature of several rows is a list of rows a sample.

    Columns of features are fixed-size lists, as wide as the feature has columns; their names are in the field's
    metadata, `columns`, as JSON.
    """
    import pyarrow as pa

    arrays: list[Any] = []
    fields: list[Any] = []
    for name in (*(one for one in ("index", "timestamp", "symbol") if one in part), *part.features):
        values, metadata = part.read(name, start, stop), None
        if name in part.features:
            metadata = {"columns": msgspec.json.encode(list(part.spec(name).columns)).decode()}
            array = pa.array(np.ascontiguousarray(values).reshape(-1))
            for size in reversed(values.shape[1:]):
                array = pa.FixedSizeListArray.from_arrays(array, size)
        else:
            array = pa.array(values.tolist() if name == "symbol" else values)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata=metadata))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
