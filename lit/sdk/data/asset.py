"""Assets for code that trains by itself: `load_asset(team, schema)`, `load_parts(team, schema)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lit.sdk.workspace import workspace_of
from lit.trainer.shuffle import Shard as Shard

if TYPE_CHECKING:
    from lit.trainer.asset import Asset


def load_asset(team: str, schema: str, part: str = "train", workers: int = 1) -> Asset:
    """Open one part (`train` or `test`) of an asset, the promoted one if there is one.

    Parameters
    ----------
    workers
        Threads that unpack it, if the schema asked for compression by gzip.

    Returns
    -------
    Asset
        Samples from disk, a part at a time: `.read(name)` in NumPy, `.frame(…)` in pandas, `.dataset(…)` as a
        `tf.data.Dataset`, `.sequence(…)` for Keras; `.rows(symbols=…, since=…, until=…)` selects. An open asset stays
        what it is, whatever becomes of its file.

    Raises
    ------
    UserError
        If the asset has not been built, or its file is refused.
    FaultError
        If the file is damaged.

    Examples
    --------
    >>> train = load_asset("contoso", "volatility")
    >>> model.fit(train.dataset(["bars"], 64, label="up"), epochs=10)
    """
    from lit.trainer.asset import Asset, asset_path

    return Asset(asset_path(workspace_of(team), schema, part)[0], workers)


def load_parts(team: str, schema: str, workers: int = 1) -> tuple[Asset, Asset]:
    """Open train and test of an asset, both of one version whatever is promoted meanwhile; else as `load_asset`."""
    from lit.trainer.asset import open_parts

    train, test, _ = open_parts(workspace_of(team), schema, workers)
    return train, test
