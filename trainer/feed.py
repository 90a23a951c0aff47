"""Assets in the forms that libraries take: `tf.data.Dataset`, Keras' `PyDataset`, pandas frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lit.streams.errors import UserError
from lit.trainer.shuffle import Rows, Shard

if TYPE_CHECKING:
    from lit.trainer.asset import Asset, Batch


def tf_dataset(
    asset: Asset,
    names: Sequence[str],
    batch: int = 32,
    *,
    label: str | None = None,
    seed: int = 0,
    epoch: int | None = None,
    rows: Rows | None = None,
    shuffle: bool = True,
    prefetch: int = 2,
    **options: Any,
) -> Any:
    """Return a `tf.data.Dataset` of batches that reads from disk ahead of the step that computes.

    Parameters
    ----------
    names, batch
        Features, and samples a batch; the last batch may be smaller.
    label
        With it the elements are (dict of features, label), as `model.fit` takes them; without, a dict.
    seed, epoch
        Decide the order. Without an epoch each pass is the next one, from 0: another order each, and the same orders
        in each run.
    rows
        Only these (see `Asset.rows`).
    shuffle
        False: in the file's order.
    prefetch
        Batches that are read ahead.
    **options
        `start`, `shard`, `buffer_bytes` of `Asset.batches`.
    """
    from lit.trainer.backend import load

    tf, _ = load()
    wanted = _with_label(asset, names, label)
    passes = itertools.count() if epoch is None else itertools.repeat(epoch)

    def batches() -> Iterator[Any]:
        found = (
            asset.batches(wanted, batch, seed=seed, epoch=next(passes), rows=rows, **options)
            if shuffle
            else asset.chunks(wanted, rows, batch)
        )
        return found if label is None else (_pair(one, names, label) for one in found)

    signature = {name: tf.TensorSpec((None, *asset.spec(name).shape), tf.float32) for name in wanted}
    found = tf.data.Dataset.from_generator(
        batches, output_signature=signature if label is None else _pair(signature, names, label)
    )
    if "shard" not in options:  # a worker's part differs from pass to pass
        total = -(-(len(asset) if rows is None else len(rows)) // batch)
        found = found.apply(tf.data.experimental.assert_cardinality(max(0, total - options.get("start", 0))))
    return found.prefetch(prefetch)


def keras_sequence(
    asset: Asset,
    names: Sequence[str],
    label: str,
    batch: int = 32,
    *,
    seed: int = 0,
    rows: Rows | None = None,
    shard: Shard | None = None,
    **options: Any,
) -> Any:
    """Return a `keras.utils.PyDataset`: batches by number, shuffled anew each epoch, read by Keras' own `workers`.

    Parameters
    ----------
    names, label, batch, seed, rows, shard
        As for `tf_dataset`.
    **options
        Keras' own: `workers`, `max_queue_size`. Worker threads share the open file.
    """
    from lit.trainer.backend import load

    _, keras = load()
    wanted = _with_label(asset, names, label)

    class Samples(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(**options)
            self._epoch = 0
            self.on_epoch_begin()

        def on_epoch_begin(self) -> None:
            self._order = asset.order(wanted, seed=seed, epoch=self._epoch, rows=rows, shard=shard)

        def on_epoch_end(self) -> None:
            self._epoch += 1
            self.on_epoch_begin()

        def __len__(self) -> int:
            return -(-len(self._order) // batch)

        def __getitem__(self, number: int) -> tuple[Batch, Any]:
            found = asset.take(wanted, self._order.rows(number * batch, (number + 1) * batch))
            return _pair(found, names, label)

    return Samples()


def frame(asset: Asset, names: Sequence[str] | str | None = None, start: int = 0, stop: int | None = None) -> Any:
    """Return samples `start`…`stop` as a pandas frame, values as they are stored.

    A row is a sample, with its `index`, `timestamp` (UTC) and `symbol` if the asset has them, and a column for each
    column of the features, `feature.column`. A feature of several rows a sample is named alone: the frame then has a
    row for each of them, by (sample, row).

    Parameters
    ----------
    names
        Features; none: all that have one row a sample.
    start, stop
        Rows of the file; the caller decides how much is loaded.
    """
    import pandas as pd

    flat = [name for name, spec in asset.features.items() if len(spec.shape) < 2]
    chosen = flat if names is None else [names] if isinstance(names, str) else list(names)
    start, stop, _ = slice(start, stop).indices(len(asset))
    tall = [name for name in chosen if len(asset.spec(name).shape) > 1]
    if tall and len(chosen) > 1:
        raise UserError(f"feature {tall[0]!r} has several rows a sample: ask for it alone, by frame({tall[0]!r})")
    if tall:
        values = asset.read(tall[0], start, stop)
        places = pd.MultiIndex.from_product([range(start, stop), range(values.shape[1])], names=["sample", "row"])
        flattened = values.reshape(len(places), values.shape[2])
        return pd.DataFrame(flattened, index=places, columns=list(asset.spec(tall[0]).columns))
    columns: dict[str, Any] = {}
    for name in ("index", "timestamp", "symbol"):
        if name in asset:
            found = asset.read(name, start, stop)
            columns[name] = pd.to_datetime(found, utc=True) if name == "timestamp" else found
    for name in chosen:
        values = np.atleast_2d(asset.read(name, start, stop).T)  # (columns, samples)
        for column, of_column in zip(asset.spec(name).columns, values, strict=True):
            columns[f"{name}.{column}"] = np.ascontiguousarray(of_column)
    return pd.DataFrame(columns, index=pd.RangeIndex(start, stop, name="sample"))


def _with_label(asset: Asset, names: Sequence[str], label: str | None) -> list[str]:
    if isinstance(names, str):
        raise UserError(f"names is {names!r}: a list of features, such as [{names!r}]")
    wanted = list(dict.fromkeys([*names, *([label] if label else [])]))
    for name in wanted:
        asset.spec(name)
    return wanted


def _pair(batch: Any, names: Sequence[str], label: str) -> tuple[dict[str, Any], Any]:
    return {name: batch[name] for name in names}, batch[label]
