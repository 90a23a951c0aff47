"""Rows that could not be taken: kept beside the team's logs with line number and reason, and counted by reason."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lit.streams.errors import FaultError
from lit.streams.workspace import Workspace

#: Rows kept a file; more are only counted, so that a wrong file cannot fill the disk.
KEPT_ROWS = 100_000


def quarantine_path(workspace: Workspace, file: Path) -> Path:
    """Return where the refused rows of a file are kept."""
    return workspace.root / "logs" / "quarantine" / f"{file.name.removesuffix('.gz').removesuffix('.csv')}.csv"


class Quarantine:
    """Collects the refused rows of one file; a context manager.

    The CSV (`line`, `reason`, `row`) appears when the file is done, complete, and only if a row was refused or set
    aside; what an earlier reading of the same file left there is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._kept = 0
        self._new = path.with_name(f".{path.name}.new")
        self._file: IO[str] | None = None
        self._writer: Any = None

    def add(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Keep and count refused rows, given as (line, reason, row).

        Raises
        ------
        FaultError
            If they cannot be written: no space, no permission.
        """
        rows = list(rows)
        self.keep(rows)
        self.reasons.update(reason for _, reason, _ in rows)

    def keep(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Keep rows that were not refused but set aside, without counting them."""
        try:
            for row in rows:
                if self._kept < KEPT_ROWS:
                    self._open().writerow(row)
                self._kept += 1
        except OSError as error:
            raise self._fault(error) from error

    def _open(self) -> Any:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._new.open("w", newline="", encoding="utf-8")
            self._writer = csv.writer(self._file)
            self._writer.writerow(("line", "reason", "row"))
        return self._writer

    def _fault(self, error: OSError) -> FaultError:
        return FaultError(
            f"refused rows could not be written to {self.path}: {error.strerror or error}. "
            "Make room or allow writing there, then run again; it goes on where it stopped."
        )

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
            if kind is not None:
                self._new.unlink(missing_ok=True)
            elif self._file is not None:
                self._new.replace(self.path)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as failure:
            if kind is None:
                raise self._fault(failure) from failure
