"""Prints the API's OpenAPI document: `python -m lit.api.openapi`. Neither broker nor store is needed or touched."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from lit.api.app import create_app
from lit.api.config import ApiConfig
from lit.api.services import Services
from lit.streams.errors import FaultError
from lit.streams.store import TickStore


class _NoStores:
    """Where no request ever comes."""

    def team(self, name: str) -> TickStore:
        """Refuse."""
        raise FaultError(f"the store of team {name!r} is asked for, but only the document is made here")


def document() -> dict[str, Any]:
    """Return the OpenAPI document of the application."""
    with tempfile.TemporaryDirectory() as folder:
        config = ApiConfig(Path(folder), bootstrap="127.0.0.1:9092")
        return create_app(Services(config, _NoStores())).openapi()


def text() -> str:
    """Return the document as `ui/openapi.json` has it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
