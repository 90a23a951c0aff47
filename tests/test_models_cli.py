"""`lit canvas` and `lit component`: files of the team, saved, shown and deleted, with what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lit.cli import app
from lit.streams.errors import UserError
from lit.trainer.canvas import parse_canvas
from tests.training import canvas


@pytest.fixture(autouse=True)
def _configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path / "data"))


def lit(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_canvas_is_saved_with_its_problems_shown_as_saved_and_deleted(tmp_path: Path) -> None:
    design = canvas()
    design["nodes"][2]["component"] = "Dens"
    (tmp_path / "file.json").write_text(json.dumps(design))
    assert "node dense: there is no component 'Dens'" in lit("canvas", "save", str(tmp_path / "file.json")).output
    assert json.loads(lit("canvas", "list", "--json").stdout) == ["up"]
    assert parse_canvas(lit("canvas", "show", "up").stdout) == parse_canvas(design)
    assert lit("canvas", "delete", "up", "--yes").exit_code == 0
    assert isinstance(lit("canvas", "show", "up").exception, UserError)
    assert isinstance(lit("canvas", "save", "absent.json").exception, UserError)


def test_a_component_is_a_form_replaced_by_a_file_and_as_shipped_again_when_deleted(tmp_path: Path) -> None:
    shipped = lit("component", "show", "Dense", "--source").stdout
    assert "layers : ints, default (64,)" in lit("component", "show", "Dense").stdout
    (tmp_path / "Dense.py").write_text("def make(:")
    assert "but broken: line 1" in lit("component", "save", str(tmp_path / "Dense.py")).stdout
    assert "Dense               broken" in lit("component", "list").stdout
    assert "as shipped" in lit("component", "delete", "Dense", "--yes").stdout
    assert lit("component", "show", "Dense", "--source").stdout == shipped
    assert isinstance(lit("component", "show", "Dens").exception, UserError)
