"""Ticks as columns: what a slice of an adapter is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd


class Columns:
    """Ticks of a dataset by field, as `adapter[first:stop]` gives them.

    `len(columns)` is the number of ticks, `columns.names` the fields, `columns["Price"]` one of them as a NumPy array.
    There are `index`, `timestamp` (int64 ns since the epoch, UTC), `Price`, `Volume`, `Seq. No.`, `session`,
    `Qualifiers`, `symbol`, and whatever else the source adapter keeps.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        if name not in self._table.schema.names:
            raise KeyError(f"there is no field {name!r}: there are {', '.join(self.names)}")
        return self._table.column(name).to_numpy()

    def __repr__(self) -> str:
        return f"<{len(self):,} ticks: {', '.join(self.names)}>"

    @property
    def names(self) -> tuple[str, ...]:
        """The fields."""
        return tuple(self._table.schema.names)

    def to_arrow(self) -> pa.Table:
        """Return the columns as an Arrow table."""
        return self._table

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame by the dataset's index, with `Date-Time` (UTC, ns) besides."""
        import pandas as pd

        frame = self._table.to_pandas().set_index("index")
        frame["Date-Time"] = pd.to_datetime(frame["timestamp"], unit="ns", utc=True)
        return frame
