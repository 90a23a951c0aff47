"""The page's own checks: types, lint and unit tests of its live channel, view state and formats."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit.api import openapi

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(os.environ.get("LIT_SKIP_UI") == "1", reason="LIT_SKIP_UI=1")
def test_the_page_passes_its_types_lint_and_unit_tests() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "ui" / "build.py"), "check"],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout


def test_the_document_that_the_pages_types_are_made_of_is_what_the_api_says_now() -> None:
    written = (ROOT / "ui" / "openapi.json").read_text()
    assert written == openapi.text(), "run `python ui/build.py types`"
