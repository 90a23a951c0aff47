"""The contract between whoever writes an adapter and whoever writes a feature: what a feature may ask for.

Historical datasets, live streams and the SDK all offer it, so a feature script runs on each unchanged.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@runtime_checkable
class TradersBaseAdapter(Protocol):
    """Random access to ticks and bars by a tick's index."""

    def __len__(self) -> int:
        """Return the number of ticks (on a stream that goes on: a number no index reaches)."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the tick at `index`: `Price`, `Volume`, `timestamp` (ns, UTC), `symbol`, `session`…"""
        ...

    def get_bars(
        self,
        index: int,
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> npt.NDArray[np.float64]:
        """Return up to `count` bars around the bar B that holds tick `index`, oldest first.

        Parameters
        ----------
        index
            A tick.
        count
            How many bars at the most; at an edge of the data fewer come back, never padding.
        unit, size
            A bar is `size` units of `second`, `minute`, `hour`, `day`, `tick`, `volume` or `dollar`.
        future
            False: the bars that end before B. True: those that begin after B.
        prevent_lookahead_bias
            False adds B itself, whole, to the end of the past or the beginning of the future.

        Returns
        -------
        ndarray
            float64 (n, 8), n <= count: open, high, low, close, trades, volume, mean and max trade size.
        """
        ...

    def column(self, name: str, indices: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return `timestamp`, `Price`, `Volume` or `session` of many ticks at once (for `feature_batch`)."""
        ...

    def get_bars_batch(
        self,
        indices: npt.NDArray[np.int64],
        count: int,
        unit: str,
        size: float,
        future: bool = False,
        prevent_lookahead_bias: bool = True,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Return `get_bars` of many indices at once (for `feature_batch`).

        Returns
        -------
        values
            float64 (m, count, 8): the valid rows of each index first, then NaN.
        lengths
            int64 (m,): how many rows are valid.
        """
        ...
