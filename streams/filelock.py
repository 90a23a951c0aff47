"""Advisory locks between processes on a file: held within a block, gone with the process that held them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Name of the file that a folder is locked by.
LOCK = ".lock"


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file, alone or (shared) with others that only read; waits for whoever has it.

    The file is made if missing and stays. Every call opens it anew, so threads of one process exclude each other too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
