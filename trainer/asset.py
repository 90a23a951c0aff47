"""Assets as input: HDF5 files of samples, read in pieces and shuffled by blocks, never whole.

The one reader of assets: training, audit, the SDK and the API go through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lit.streams.errors import FaultError, UserError
from lit.streams.tick import from_iso
from lit.streams.workspace import Workspace
from lit.trainer.asset_folder import PARTS, asset_folder, part_folder, steady
from lit.trainer.hdf5 import check_provenance, open_samples, reading, sample_datasets
from lit.trainer.pieces import Pieces
from lit.trainer.shuffle import EpochOrder, Shard
from lit.trainer.shuffle import Rows as Rows

#: Datasets of an asset that say where a sample came from, and are no features.
PROVENANCE = ("index", "timestamp", "symbol")
#: What a shuffling buffer may hold. An asset part that fits is shuffled as a whole.
BUFFER_BYTES = 256 * 1024 * 1024
_SCAN_ROWS = 65_536
#: Read with one call at the most, before it is put where it belongs.
_READ_BYTES = 4 * 1024 * 1024

Batch = dict[str, npt.NDArray[np.float32]]
Time = str | int


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
    return _part_path(asset_folder(workspace, schema), part)


def open_parts(workspace: Workspace, schema: str, workers: int = 1) -> tuple[Asset, Asset, bool]:
    """Open train and test of an asset, both of one version, and say whether that has been promoted.

    Raises
    ------
    UserError
        If the asset has not been built, or its parts are of two builds.
    """
    folder = asset_folder(workspace, schema)
    with steady(folder):
        (train, promoted), (test, other) = (_part_path(folder, part) for part in PARTS)
        opened = Asset(train, workers), Asset(test, workers)
    if promoted != other or opened[0].schema != opened[1].schema:
        for part in opened:
            part.close()
        raise UserError(f"{train} and {test} are of two builds: wait for the build, or build and promote again")
    return *opened, promoted


class Asset:
    """One part (`train` or `test`) of an asset, open for reading; a context manager.

    An open asset stays what it is, also when its file is replaced or moved.

    Parameters
    ----------
    path
        The file.
    workers
        Threads that unpack it, if it is compressed.

    Attributes
    ----------
    features : dict of str to FeatureSpec
        Features in the file, labels among them.
    schema : dict
        The frozen schema that the asset was built from.
    digest : str
        `sha256:…` of the content, as the file states it.

    Raises
    ------
    UserError
        If the file is refused: links, data outside of it, absurd sizes.
    FaultError
        If it is damaged.
    """

    def __init__(self, path: Path, workers: int = 1) -> None:
        self.path = path
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._file = open_samples(path)
        try:
            with reading(path):
                self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> None:
        self._data = sample_datasets(self._file, self.path)
        self.features = {
            name: FeatureSpec(name, tuple(int(size) for size in item.shape[1:]), _columns(item))
            for name, item in self._data.items()
            if name not in PROVENANCE
        }
        if not self.features:
            raise FaultError(f"asset file {self.path} has no features: build it again")
        for name in PROVENANCE:
            check_provenance(self._data.get(name), name, self.path)
        counts = {name: len(item) for name, item in self._data.items()}
        self._count = next(iter(counts.values()))
        if len(set(counts.values())) > 1:
            raise FaultError(f"asset file {self.path} is torn, its parts have {counts} samples: build it again")
        try:
            self.schema: dict[str, Any] = dict(json.loads(self._file.attrs.get("schema", "{}")))
        except (ValueError, TypeError) as error:
            raise FaultError(f"asset file {self.path} has a damaged schema ({error}): build it again") from None
        self.digest = str(self._file.attrs.get("digest", ""))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def __enter__(self) -> Asset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._pool is not None:
            self._pool.shutdown()
        self._file.close()

    @property
    def file(self) -> h5py.File:
        """The file itself, open for reading."""
        return self._file

    def spec(self, feature: str) -> FeatureSpec:
        """Return a feature's shape and columns, or raise `UserError` if the asset does not have it."""
        if feature not in self.features:
            raise UserError(f"feature {feature!r} is not in asset {self.path}: it has {', '.join(self.features)}")
        return self.features[feature]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Return samples `start`…`stop` of a feature, of `index`, `timestamp` or `symbol` (text), as they are stored.

        Returns
        -------
        ndarray (samples, …)
        """
        with reading(self.path):
            data = self._dataset(name)
            return data.asstr()[start:stop] if h5py.check_string_dtype(data.dtype) else data[start:stop]

    def rows(self, symbols: Iterable[str] | None = None, since: Time | None = None, until: Time | None = None) -> Rows:
        """Return the rows of symbols, and of times in [since, until): ISO texts, or ns since the epoch.

        Returns
        -------
        ndarray of int64 (rows,)
            Ascending; for `batches`, `chunks` and `dataset`.

        Raises
        ------
        UserError
            If a symbol is not in the asset, a time is no time, or nothing is left.
        """
        wanted = None if symbols is None else {symbols} if isinstance(symbols, str) else set(symbols)
        first = _nanos(since, np.iinfo(np.int64).min)
        last = _nanos(until, np.iinfo(np.int64).max)
        seen: set[str] = set()
        parts = []
        for start in range(0, self._count, _SCAN_ROWS):
            stop = min(start + _SCAN_ROWS, self._count)
            keep = np.ones(stop - start, np.bool_)
            if wanted is not None:
                names, codes = np.unique(self.read("symbol", start, stop).astype(str), return_inverse=True)
                seen.update(names.tolist())
                keep &= np.isin(names, list(wanted))[codes]
            if since is not None or until is not None:
                times = self.read("timestamp", start, stop)
                keep &= (times >= first) & (times < last)
            parts.append(np.flatnonzero(keep) + start)
        if wanted is not None and (missing := sorted(wanted - seen)):
            raise UserError(f"symbol {missing[0]!r} is not in {self.path}: it has {', '.join(sorted(seen)) or 'none'}")
        found = np.concatenate([np.empty(0, np.int64), *parts])
        if not len(found):
            raise UserError(f"no sample of {self.path} lies between {since} and {until}")
        return found

    def origins(self, numbers: dict[str, int]) -> Iterator[tuple[Rows, Rows]]:
        """Yield times (ns) and symbols of all samples in file order, a part at a time.

        Parameters
        ----------
        numbers
            Symbol → its number; symbols that are not in it are added.
        """
        for start in range(0, self._count, _SCAN_ROWS):
            texts = self.read("symbol", start, start + _SCAN_ROWS).astype(str)
            names, codes = np.unique(texts, return_inverse=True)
            own = np.array([numbers.setdefault(name, len(numbers)) for name in names.tolist()], np.int64)
            yield self.read("timestamp", start, start + _SCAN_ROWS).astype(np.int64), own[codes]

    def chunks(self, names: Sequence[str], rows: Rows | None = None, size: int = 4096) -> Iterator[Batch]:
        """Yield all samples (or those at `rows`, ascending) in file order, `size` at a time, as float32."""
        for first in range(0, self._count if rows is None else len(rows), size):
            part = np.arange(first, min(first + size, self._count)) if rows is None else rows[first : first + size]
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
        shard: Shard | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Iterator[Batch]:
        """Yield an epoch's batches in shuffled order; the last may be smaller.

        The order is a pure function of `seed` and `epoch`, so reading may begin at any batch (`start`) and meets
        what an uninterrupted epoch would have met. Only the shuffling buffer is in memory; how good the order is
        stands in `lit.trainer.shuffle`. Several workers with a `shard` each share the epoch.
        """
        order = self.order(names, seed=seed, epoch=epoch, rows=rows, shard=shard, buffer_bytes=buffer_bytes)
        left: Batch | None = None
        for window in order.windows(start * batch):
            values = {name: self._take(name, window) for name in names}
            have = 0 if left is None else len(left[names[0]])
            if left is not None:
                need = min(batch - have, len(window))
                left = {name: np.concatenate([left[name], values[name][:need]]) for name in names}
                values = {name: values[name][need:] for name in names}
                if have + need < batch:
                    continue
                yield left
                left = None
            count = len(values[names[0]])
            whole = count - count % batch
            for first in range(0, whole, batch):
                yield {name: values[name][first : first + batch] for name in names}
            if whole < count:
                left = {name: values[name][whole:].copy() for name in names}  # a view would keep the window
        if left is not None:
            yield left

    def order(
        self,
        names: Sequence[str],
        *,
        seed: int,
        epoch: int,
        rows: Rows | None = None,
        shard: Shard | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> EpochOrder:
        """Return the order in which `batches` of the same arguments meets the rows."""
        if not names:
            raise UserError(f"no feature is named: {self.path} has {', '.join(self.features)}")
        sample = sum(4 * int(np.prod(self.spec(name).shape, dtype=np.int64)) for name in names)
        return EpochOrder(self._count if rows is None else rows, seed, epoch, max(1, buffer_bytes // sample), shard)

    def take(self, names: Sequence[str], rows: Rows) -> Batch:
        """Return the samples at any rows, in the order asked for, as float32."""
        return {name: self._take(name, rows) for name in names}

    def dataset(self, names: Sequence[str], batch: int = 32, **options: Any) -> Any:
        """Return a `tf.data.Dataset` that streams from disk (see `lit.trainer.feed.tf_dataset`)."""
        from lit.trainer.feed import tf_dataset

        return tf_dataset(self, names, batch, **options)

    def sequence(self, names: Sequence[str], label: str, batch: int = 32, **options: Any) -> Any:
        """Return a `keras.utils.PyDataset` for `model.fit` (see `lit.trainer.feed.keras_sequence`)."""
        from lit.trainer.feed import keras_sequence

        return keras_sequence(self, names, label, batch, **options)

    def frame(self, names: Sequence[str] | str | None = None, start: int = 0, stop: int | None = None) -> Any:
        """Return samples `start`…`stop` as a pandas frame (see `lit.trainer.feed.frame`)."""
        from lit.trainer.feed import frame

        return frame(self, names, start, stop)

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in PROVENANCE:
            self.spec(name)
        elif name not in self._data:
            raise UserError(f"asset file {self.path} does not say the {name} of its samples")
        return self._data[name]

    def _take(self, name: str, rows: Rows) -> npt.NDArray[np.float32]:
        """Read rows, each stretch of neighbours with one call: h5py's own fancy indexing is slow."""
        dataset = self._data[self.spec(name).name]
        out = np.empty((len(rows), *dataset.shape[1:]), np.float32)
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        if self._workers > 1 and Pieces.can_unpack(dataset):
            self._pool = self._pool or ThreadPoolExecutor(self._workers)
            with reading(self.path):
                Pieces(dataset).read(self._pool, ascending, order, out)
            return out
        most = max(1, _READ_BYTES // max(1, out[:1].nbytes))
        seams = np.flatnonzero(np.diff(ascending) != 1) + 1
        edges = np.unique(np.concatenate([seams, np.arange(0, len(rows), most), [len(rows)]]))
        with reading(self.path):
            for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                out[order[first:last]] = dataset[int(ascending[first]) : int(ascending[last - 1]) + 1]
        return out


def _part_path(folder: Path, part: str) -> tuple[Path, bool]:
    for where in ("promoted", "queue"):
        path = part_folder(folder, where) / f"{part}.h5"
        if path.is_file():
            return path, where == "promoted"
    raise UserError(f"asset {folder.name!r} has no {part}.h5: build it first (`lit build`)")


def _columns(dataset: Any) -> tuple[str, ...]:
    names = dataset.attrs.get("columns", ())
    texts = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    width = int(dataset.shape[-1]) if len(dataset.shape) > 1 else 1
    return texts if len(texts) == width else tuple(str(number) for number in range(width))


def _nanos(time: Time | None, default: int) -> int:
    if time is None or isinstance(time, int):
        return default if time is None else time
    try:
        return from_iso(time if "T" in time else f"{time}T00:00:00Z")
    except ValueError:
        raise UserError(f"time {time!r} is no ISO time such as 2024-01-31 or 2024-01-31T14:30:00Z") from None
