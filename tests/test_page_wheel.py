"""The wheel carries the built page; an editable install builds none, nor does one who asks for none."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = "lit/api/static/"


def built(kind: str, folder: Path, skip: bool = False) -> tuple[set[str], str]:
    """Build as an installer without isolation does; returns the names in the wheel and what was printed."""
    code = f"import sys; from hatchling.build import build_{kind} as build; build(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        env={**os.environ, "LIT_SKIP_UI": "1" if skip else "0"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return set(wheel.namelist()), done.stdout


@pytest.mark.skipif(os.environ.get("LIT_SKIP_UI") == "1", reason="LIT_SKIP_UI=1")
def test_a_wheel_carries_the_page_as_the_server_looks_for_it(tmp_path: Path) -> None:
    names, _ = built("wheel", tmp_path)
    static = ROOT / "api" / "static"
    page = {PAGE + str(file.relative_to(static)) for file in static.rglob("*") if file.is_file()}
    assert {name for name in names if name.startswith(PAGE)} == page
    assert {PAGE + "index.html", "lit/api/page.py", "lit/streams/tick.py"} <= names
    assert any(name.startswith(PAGE + "assets/") and name.endswith(".js") for name in names)


def test_a_wheel_without_page_is_to_be_had(tmp_path: Path) -> None:
    names, said = built("wheel", tmp_path, skip=True)
    assert "lit/api/page.py" in names
    assert not [name for name in names if name.startswith(PAGE)]
    assert "page:" not in said


def test_an_editable_install_leaves_the_page_alone(tmp_path: Path) -> None:
    names, said = built("editable", tmp_path)
    assert "page:" not in said
    assert not [name for name in names if "/api/" in name]
