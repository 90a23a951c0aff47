"""Assets as training input: HDF5 files of samples, read in pieces and shuffled by blocks, never whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace

#: Datasets of an asset that say where a sample came from, and are no features.
PROVENANCE = ("index", "timestamp", "symbol")
#: Rows read together; neighbours in a file are similar, so blocks are small against a buffer.
BLOCK_ROWS = 256
#: What a shuffling buffer may hold. An asset part that fits is shuffled as a whole.
BUFFER_BYTES = 256 * 1024 * 1024

Rows = npt.NDArray[np.int64]
Batch = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """A feature of an asset: its name, the shape of one sample (without the sample axis), its columns' names."""

    name: str
    shape: tuple[int, ...]
    columns: tuple[str, ...]


def asset_path(workspace: Workspace, schema: str, part: str = "train") -> tuple[Path, bool]:
    """Return the file of one part of an asset, and whether it has been promoted (a promoted one is preferred).

    Raises
    ------
    UserError
        If the asset has not been built.
    """
    promoted = workspace.path("assets", schema) / f"{part}.h5"
    queued = workspace.path("assets", schema, "queue") / f"{part}.h5"
    for path, is_promoted in ((promoted, True), (queued, False)):
        if path.is_file():
            return path, is_promoted
    built = sorted(path.name for path in workspace.path("assets").glob("*") if path.is_dir())
    raise UserError(
        f"asset {schema!r} has no {part}.h5: build it first (`lit build`). Built so far: {', '.join(built) or 'none'}."
    )


class Asset:
    """One part (`train` or `test`) of an asset, open for reading; a context manager.

    Attributes
    ----------
    features : dict of str to FeatureSpec
        Features in the file, labels among them.
    schema : dict
        The frozen schema that the asset was built from.
    digest : str
        `sha256:…` of the content.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise FaultError(f"asset file {path} is not readable as HDF5 ({error}): build it again") from error
        self.features = {
            name: FeatureSpec(name, tuple(int(size) for size in item.shape[1:]), _columns(item))
            for name, item in self._file.items()
            if isinstance(item, h5py.Dataset) and name not in PROVENANCE
        }
        if not self.features:
            raise FaultError(f"asset file {path} has no features: build it again")
        counts = {name: len(self._file[name]) for name in self.features}
        self._count = next(iter(counts.values()))
        if len(set(counts.values())) > 1:
            raise FaultError(f"asset file {path} is torn, its features have {counts} samples: build it again")
        self.schema: dict[str, Any] = json.loads(self._file.attrs.get("schema", "{}"))
        self.digest = str(self._file.attrs.get("digest", ""))

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Asset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def spec(self, feature: str) -> FeatureSpec:
        """Return a feature's shape and columns, or raise `UserError` if the asset does not have it."""
        if feature not in self.features:
            raise UserError(f"feature {feature!r} is not in asset {self.path}: it has {', '.join(self.features)}")
        return self.features[feature]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return samples `start`…`stop` of a feature (float32), or of `index`, `timestamp` or `symbol`."""
        if name not in PROVENANCE:
            self.spec(name)
        elif name not in self._file:
            raise UserError(f"asset file {self.path} does not say the {name} of its samples")
        values = self._file[name][start:stop]
        return values if name in PROVENANCE else values.astype(np.float32, copy=False)

    def chunks(self, names: Sequence[str], rows: Rows | None = None, size: int = 4096) -> Iterator[Batch]:
        """Yield all samples (or those at `rows`, ascending) in file order, `size` at a time."""
        chosen = np.arange(self._count) if rows is None else rows
        for first in range(0, len(chosen), size):
            part = chosen[first : first + size]
            yield {name: self._take(name, part) for name in names}

    def batches(
        self,
        names: Sequence[str],
        batch: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        rows: Rows | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Iterator[Batch]:
        """Yield an epoch's batches in shuffled order; the last may be smaller.

        The order is a pure function of `seed` and `epoch`, so reading may begin at any batch (`start`) and meets
        what an uninterrupted epoch would have met. Blocks of neighbouring rows are drawn at random into a buffer,
        which is then shuffled; only the buffer is in memory.
        """
        chosen = np.arange(self._count) if rows is None else rows
        skip = start * batch
        held: list[Batch] = []
        waiting = 0
        for window in _windows(chosen, seed, epoch, max(1, buffer_bytes // self._bytes_a_row(names))):
            if skip >= len(window):
                skip -= len(window)
                continue
            values = self._gather(names, window[skip:])
            waiting += len(window) - skip
            skip = 0
            held.append(values)
            if waiting < batch:
                continue
            joined = _joined(held, names)
            whole = waiting - waiting % batch
            for first in range(0, whole, batch):
                yield {name: joined[name][first : first + batch] for name in names}
            held, waiting = [{name: joined[name][whole:] for name in names}], waiting - whole
        if waiting:
            yield _joined(held, names)

    def dataset(self, names: Sequence[str], batch: int, *, seed: int, epoch: int, **options: Any) -> Any:
        """Return `batches` as a `tf.data.Dataset` of dicts that reads ahead while a step computes."""
        from lit.trainer.backend import load

        tf, _ = load()
        signature = {name: tf.TensorSpec((None, *self.spec(name).shape), tf.float32) for name in names}
        return tf.data.Dataset.from_generator(
            lambda: self.batches(names, batch, seed=seed, epoch=epoch, **options), output_signature=signature
        ).prefetch(2)

    def _gather(self, names: Sequence[str], rows: Rows) -> Batch:
        """Read rows in file order, give them back in the order asked for."""
        order = np.argsort(rows, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return {name: self._take(name, rows[order])[back] for name in names}

    def _take(self, name: str, rows: Rows) -> npt.NDArray[np.float32]:
        """Read ascending rows, each stretch of neighbours with one call: h5py's own fancy indexing is slow."""
        dataset = self._file[name]
        out = np.empty((len(rows), *dataset.shape[1:]), np.float32)
        edges = np.flatnonzero(np.diff(rows) != 1) + 1
        at = 0
        for stretch in np.split(rows, edges):
            if len(stretch):
                out[at : at + len(stretch)] = dataset[int(stretch[0]) : int(stretch[-1]) + 1]
                at += len(stretch)
        return out

    def _bytes_a_row(self, names: Sequence[str]) -> int:
        return sum(4 * int(np.prod(self.spec(name).shape, dtype=np.int64)) for name in names) or 1


def _windows(rows: Rows, seed: int, epoch: int, rows_a_buffer: int) -> Iterator[Rows]:
    block = max(1, min(BLOCK_ROWS, rows_a_buffer // 8))
    blocks = [rows[first : first + block] for first in range(0, len(rows), block)]
    order = np.random.default_rng([seed, epoch]).permutation(len(blocks))
    a_window = max(1, rows_a_buffer // block)
    for number, first in enumerate(range(0, len(order), a_window)):
        window = np.concatenate([blocks[i] for i in order[first : first + a_window]])
        np.random.default_rng([seed, epoch, number + 1]).shuffle(window)
        yield window


def _joined(parts: list[Batch], names: Sequence[str]) -> Batch:
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _columns(dataset: Any) -> tuple[str, ...]:
    names = dataset.attrs.get("columns", ())
    texts = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    width = int(dataset.shape[-1]) if len(dataset.shape) > 1 else 1
    return texts if len(texts) == width else tuple(str(number) for number in range(width))
