"""HDF5 files on a disk that may be full: a failed write is told once, as an error of ours, and HDF5 never meets it.

After a write that fails, the HDF5 library crashes the process when it closes the file (h5py 3.16: segmentation fault).
So it writes through a file of ours, which keeps the first error to itself and takes all that follows as written.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py

from lit.streams.errors import FaultError


class _Patient(io.FileIO):
    """A file that remembers its first failed write and goes on as if nothing had happened."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or pretend to."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:]) or 0
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Truncate, or pretend to."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0


class Output:
    """A new HDF5 file under way: `file` to write to, `commit` to give it its name, `abandon` to drop it.

    Parameters
    ----------
    path
        Its name in the end.
    part
        Its name until then, in the same folder.
    """

    def __init__(self, path: Path, part: Path) -> None:
        self._path, self._part = path, part
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._raw = _Patient(part, "w+b")
        except OSError as error:
            raise self._fault(error) from error
        self.file = h5py.File(self._raw, "w")

    def check(self) -> None:
        """Raise `FaultError` if something could not be written."""
        if self._raw.error is not None:
            raise self._fault(self._raw.error) from self._raw.error

    def commit(self) -> None:
        """Close the file and give it its name; it is there whole, or not at all."""
        try:
            self.file.close()
            self.check()
            self._raw.close()
            self._part.replace(self._path)
        except OSError as error:
            raise self._fault(error) from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Drop what is not committed."""
        if self.file:
            self.file.close()
        self._raw.close()
        self._part.unlink(missing_ok=True)

    def _fault(self, error: OSError) -> FaultError:
        return FaultError(f"could not write {self._path}: {error}. Free space or mend the folder, then resume")
