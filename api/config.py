"""What the API server needs to know; made from the settings once and passed down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Configuration of one API server.

    Parameters
    ----------
    data
        The data root, `$LIT_DATA`.
    bootstrap
        Kafka's bootstrap servers.
    static
        Folder of the built page.
    replication
        Replicas of topics that the server makes.
    embedded
        Whether the broker is this data folder's own: all its topics are then ours to process.
    """

    data: Path
    bootstrap: str
    static: Path = Path(__file__).parent / "static"
    replication: int = 1
    embedded: bool = False

    @property
    def private(self) -> Path:
        """Folder of the server's own files: token, keys, state."""
        return self.data / ".lit"
