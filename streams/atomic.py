"""Files that are replaced at once: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_file(path: Path, content: bytes, durable: bool = False, mode: int = 0o666) -> None:
    """Replace a file, also one that others replace at the same time.

    Parameters
    ----------
    durable
        Whether the content is on the disk before the name is, so that it outlives a crash of the machine.
    mode
        Its permissions, less the process' mask; 0o600 for secrets.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
