"""Assets for code that trains by itself: `load_asset(team, schema)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lit.trainer.asset import Asset


def load_asset(team: str, schema: str, part: str = "train") -> Asset:
    """Open one part (`train` or `test`) of an asset, the promoted one if there is one.

    Returns
    -------
    Asset
        `.features`, `.read(name)`, `.batches(…)` in NumPy, `.dataset(…)` as a `tf.data.Dataset` that streams.
    """
    from lit.settings import Settings
    from lit.streams.workspace import Workspace
    from lit.trainer.asset import Asset, asset_path

    return Asset(asset_path(Workspace(Settings().data, team), schema, part)[0])
