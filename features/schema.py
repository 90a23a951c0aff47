"""A schema: which files, which features, how dense, how split; the frozen record that a build starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from lit.streams.errors import UserError
from lit.streams.tick import Int64Array, from_iso
from lit.streams.workspace import Workspace, checked_name

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Split(msgspec.Struct, frozen=True):
    """How samples are divided into train and test.

    `date`: test from that ISO date (or time) on. `random`: that fraction to test, by a hash of seed and index, so
    that the choice does not depend on what else is in the dataset. `end`: the last fraction to test.
    """

    kind: Literal["date", "random", "end"] = "end"
    value: str | float = 0.2
    seed: int = 0

    def is_test(
        self, index: Int64Array, timestamp: Int64Array, first: int = 0, total: int | None = None
    ) -> npt.NDArray[np.bool_]:
        """Return which samples are for testing.

        Parameters
        ----------
        index, timestamp
            Samples in the dataset's order: their indices and times (ns).
        first, total
            How many samples come before these, and how many there are in all; none: these are all.
        """
        if self.kind == "date":
            return timestamp >= self._date()
        if self.kind == "random":
            return _hash01(index, self.seed) < self._fraction()
        count = len(index) if total is None else total
        return np.arange(first, first + len(index)) >= count - round(count * self._fraction())

    def check(self) -> None:
        """Raise `UserError` if the value does not fit the kind."""
        self._date() if self.kind == "date" else self._fraction()

    def _date(self) -> int:
        text = str(self.value)
        try:
            return from_iso(text if "T" in text else text + "T00:00:00Z")
        except ValueError:
            raise UserError(f"split date {text!r} is not a date such as 2024-01-01 or 2024-01-01T00:00:00Z") from None

    def _fraction(self) -> float:
        if not isinstance(self.value, int | float) or not 0 < self.value < 1:
            raise UserError(f"split fraction {self.value!r} is not a number between 0 and 1, such as 0.2")
        return float(self.value)


def _hash01(index: Int64Array, seed: int) -> npt.NDArray[np.float64]:
    """SplitMix64 (Steele, Lea, Flood 2014) of index and seed, as a number in [0, 1)."""
    with np.errstate(over="ignore"):
        z = index.astype(np.uint64) * _GOLDEN + np.uint64(seed + 1) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / float(1 << 53)


class Schema(msgspec.Struct, frozen=True):
    """What a dataset is made of, and how it is stored.

    Parameters
    ----------
    paths
        Files within the team's `raw` folder, or absolute; their ticks follow each other in this order.
    features
        Names of the team's features, samplers and labels among them.
    adapter, parameters
        Source adapter that reads the files, and its own parameters.
    resolution
        Every how many ticks a sample is tried; 1: at each.
    split
        What goes to test.
    dtype
        Type of the values in the files.
    compression
        `none` is fastest to read at random; `lzf` and `gzip` are smaller.
    chunk_rows
        Samples that are stored (and so read) together; 0: as many as fit into 64 kB.
    """

    name: str
    paths: list[str]
    features: list[str]
    adapter: str = "refinitiv"
    resolution: int = 1
    split: Split = Split()
    parameters: dict[str, Any] = {}
    dtype: Literal["float32", "float64"] = "float32"
    compression: Literal["none", "lzf", "gzip"] = "none"
    chunk_rows: int = 0

    def check(self) -> None:
        """Raise `UserError` if a field is unusable."""
        checked_name(self.name, "schema")
        self.split.check()
        if self.resolution < 1:
            raise UserError(f"resolution {self.resolution} is below 1: every n-th tick is tried, 1 is each")
        if self.chunk_rows < 0:
            raise UserError(f"chunk_rows {self.chunk_rows} is below 0: samples stored together, 0 chooses")
        for what, values in (("paths", self.paths), ("features", self.features)):
            if not values:
                raise UserError(f"schema {self.name!r} has no {what}: choose at least one")
            if len(set(values)) < len(values):
                raise UserError(f"schema {self.name!r} names {_twice(values)!r} twice in its {what}")


def _twice(values: list[str]) -> str:
    return next(value for value in values if values.count(value) > 1)


def schema_path(workspace: Workspace, name: str) -> Path:
    """Return where a schema is kept."""
    return workspace.folder("schemas") / f"{checked_name(name, 'schema')}.json"


def load_schema(workspace: Workspace, name: str) -> Schema:
    """Read and check a team's schema."""
    path = schema_path(workspace, name)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise UserError(f"team {workspace.team!r} has no schema {name!r} (there are: {known})")
    try:
        schema = msgspec.json.decode(path.read_bytes(), type=Schema)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is not a schema: {error}") from None
    schema.check()
    return schema


def save_schema(workspace: Workspace, schema: Schema) -> Path:
    """Check and write a schema."""
    schema.check()
    path = schema_path(workspace, schema.name)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(schema), indent=2))
    return path


def schema_json(schema: Schema) -> dict[str, Any]:
    """Return the schema as plain JSON types."""
    return msgspec.to_builtins(schema)
