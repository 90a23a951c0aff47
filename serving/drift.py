"""How far a model's inputs have moved from those that it was trained on: the population stability index.

Bins are the deciles of the training asset (see `lit.trainer.drift`); a value that is several deciles at once has a bin
of its own. Of a feature of several rows the last is taken: windows that follow each other share all the others.

A deployment's partitions see other symbols each, the asset has them all: so partitions tell counts, and the index is
that of all partitions together.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.streams.atomic import write_file
from lit.streams.errors import LitError, UserError
from lit.streams.tick import Float64Array, Int64Array
from lit.streams.workspace import Workspace
from lit.trainer.drift import population_stability

log = logging.getLogger(__name__)

BINS = 10
#: Samples that a partition's live shares are of, and how many of all there must be before they say something.
LIVE, ENOUGH = 500, 100


class Shift(msgspec.Struct, frozen=True):
    """A column's latest values in a partition: how many are in each bin.

    Parameters
    ----------
    trained, live
        Samples of the training asset and latest ones by bin.
    seen
        All that the worker has seen, which weighs this partition against the others.
    """

    trained: list[int]
    live: list[int]
    seen: int


def drift_of(parts: Iterable[Mapping[str, Shift]]) -> dict[str, float]:
    """Return `feature.column` → PSI of a model's partitions together (latest record last); none of few samples."""
    found: dict[str, list[Shift]] = {}
    for part in parts:
        for column, shift in part.items():
            found.setdefault(column, []).append(shift)
    indices = {column: _together(shifts) for column, shifts in found.items()}
    return {column: round(index, 6) for column, index in indices.items() if index is not None}


def _together(shifts: list[Shift]) -> float | None:
    latest = shifts[-1].trained  # while a worker changes, partitions may still tell of another reference
    parts = [shift for shift in shifts if shift.trained == latest]
    if sum(sum(shift.live) for shift in parts) < ENOUGH:
        return None
    weighed = [np.array(shift.live) / max(sum(shift.live), 1) * shift.seen for shift in parts]
    return population_stability(np.array(latest), np.sum(weighed, axis=0))


class Reference(msgspec.Struct, frozen=True):
    """Inputs of a training asset.

    Parameters
    ----------
    digest
        The asset's.
    edges
        Feature → for each column the inner edges of its bins, ascending (fewer where values repeat).
    counts
        Feature → for each column the number of the asset's samples in each bin.
    """

    digest: str
    columns: dict[str, list[str]]
    edges: dict[str, list[list[float]]]
    counts: dict[str, list[list[int]]]


def last_row(values: Any) -> Float64Array:
    """Return (n, columns) of values (n, columns) or (n, rows, columns)."""
    array = np.asarray(values, np.float32)  # as models see them: else a value that repeats is not itself any more
    return (array[:, -1] if array.ndim == 3 else array).astype(np.float64)


def reference_of(digest: str, columns: Mapping[str, list[str]], values: Mapping[str, Any]) -> Reference:
    """Return the reference of samples: feature → (n, columns) or (n, rows, columns)."""
    edges: dict[str, list[list[float]]] = {}
    counts: dict[str, list[list[int]]] = {}
    for name, samples in values.items():
        rows = last_row(samples)
        inner = [_edges(column) for column in rows.T]
        edges[name] = [edge.tolist() for edge in inner]
        counts[name] = [_counts(column, edge).tolist() for column, edge in zip(rows.T, inner, strict=True)]
    return Reference(digest, {name: list(columns[name]) for name in values}, edges, counts)


def _edges(column: Float64Array) -> Float64Array:
    deciles, times = np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)[1:-1]), return_counts=True)
    return np.unique([*deciles, *np.nextafter(deciles[times > 1], np.inf)])


def _counts(column: Float64Array, edges: Any) -> Int64Array:
    places = np.searchsorted(np.asarray(edges, np.float64), column, side="right")
    return np.bincount(places, minlength=len(edges) + 1)


@dataclass
class DriftTally:
    """The latest inputs of a model against its reference."""

    reference: Reference
    seen: int = 0
    _rows: dict[str, deque[Float64Array]] = field(default_factory=dict)

    def add(self, inputs: Mapping[str, Any]) -> None:
        """Take a sample's inputs."""
        self.seen += 1
        for name in self.reference.edges:
            self._rows.setdefault(name, deque(maxlen=LIVE)).append(last_row(np.asarray(inputs[name])[None])[0])

    def values(self) -> dict[str, Shift]:
        """Return `feature.column` → its latest values by bin."""
        found: dict[str, Shift] = {}
        for name, rows in self._rows.items():
            table = np.stack(rows)
            for number, column in enumerate(self.reference.columns[name]):
                trained, edges = self.reference.counts[name][number], self.reference.edges[name][number]
                found[f"{name}.{column}"] = Shift(trained, _counts(table[:, number], edges).tolist(), self.seen)
        return found


def reference_for(workspace: Workspace, item: Any) -> Reference | None:
    """Return the reference of a vault item: kept beside it, else made of its asset; None if that is gone or another.

    Parameters
    ----------
    item
        A `lit.trainer.vault.VaultItem`.
    """
    from lit.trainer.asset import Asset, asset_path

    origin = item.lineage.get("asset", {})
    kept: Path = item.path / "reference.json"
    try:
        found = msgspec.json.decode(kept.read_bytes(), type=Reference)
        if found.digest == origin.get("digest"):
            return found
    except (OSError, msgspec.MsgspecError):
        pass
    job = origin.get("schema", {})  # a build's snapshot, which holds the schema
    try:
        path, _ = asset_path(workspace, job.get("schema", job)["name"])
        with Asset(path) as asset:
            if asset.digest != origin.get("digest"):
                raise UserError(f"asset {path.parent.name!r} was built anew since")
            values = {name: _last_rows(asset, name) for name in item.features}
    except (LitError, OSError, KeyError, TypeError) as error:
        log.warning("drift of %s is not watched: its training asset is not there (%s)", item.name, error)
        return None
    made = reference_of(asset.digest, {spec.name: list(spec.columns) for spec in item.inputs}, values)
    write_file(kept, msgspec.json.encode(made))
    return made


def _last_rows(asset: Any, name: str) -> Float64Array:
    return np.concatenate([last_row(chunk[name]) for chunk in asset.chunks([name])])
