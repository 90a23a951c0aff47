"""The guide to training: its files and commands work as they stand, one after another."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lit.cli import app
from lit.streams.workspace import Workspace
from tests.training import train_here, write_asset

GUIDE = Path(__file__).parent.parent / "docs" / "training.md"


@pytest.mark.slow
def test_the_guides_commands_work_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    train_here(monkeypatch)
    write_asset(Workspace(tmp_path / "data", "demo"), train=120, test=60)
    text = GUIDE.read_text("utf-8")
    for name, content in zip(("up.json", "search.json"), re.findall(r"```json\n(.*?)```", text, re.S), strict=True):
        (tmp_path / name).write_text(content)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines() if line]
    assert len(lines) > 10
    for line in lines:
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}: {done.output}{done.exception}"
    assert {path.name for path in (tmp_path / "exported").iterdir()} >= {"model.h5", "model.onnx", "predict.py"}
    assert (tmp_path / "up.py").is_file()
