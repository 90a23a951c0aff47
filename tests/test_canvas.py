"""Canvases: what is wrong is said with its node, what is right becomes the same model here and as a program."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lit.cli import app
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer.asset import FeatureSpec
from lit.trainer.backend import seed_everything
from lit.trainer.canvas import canvases, load_canvas, parse_canvas, problems, save_canvas
from lit.trainer.compiler import compile_canvas
from lit.trainer.component import load_components, save_component
from lit.trainer.script import as_script
from tests.training import BARS, canvas, write_asset

FEATURES = {
    "bars": FeatureSpec("bars", (20, 8), tuple(BARS)),
    "atr": FeatureSpec("atr", (20, 1), ("atr",)),
    "up": FeatureSpec("up", (1,), ("label",)),
}
Change = Callable[[dict[str, Any]], Any]


def found(workspace: Workspace, change: Change) -> list[str]:
    data = copy.deepcopy(canvas())
    change(data)
    return [str(item) for item in problems(parse_canvas(data), load_components(workspace), FEATURES)]


def test_a_good_canvas_has_no_problems(workspace: Workspace) -> None:
    assert found(workspace, lambda data: None) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["nodes"][2].update(component="Dens"), "node dense: there is no component 'Dens'"),
        (lambda d: d["nodes"][0]["properties"].update(feature="bras"), "node bars: feature is 'bras'"),
        (lambda d: d["nodes"][0]["properties"].clear(), "node bars: feature is not filled in"),
        (lambda d: d["nodes"][2]["properties"].update(layers="64, many"), "node dense: layers is '64, many'"),
        (lambda d: d["nodes"][2]["properties"].update(size=3), "node dense: Dense has no property 'size'"),
        (lambda d: d["nodes"][4]["properties"].update(optimizer="newton"), "node globals: optimizer is 'newton'"),
        (lambda d: d["nodes"][1].update(id="bars"), "node bars: another node has the same id"),
        (lambda d: d["edges"].pop(), "node out: Output needs an input"),
        (lambda d: d["edges"].pop(0), "node bars: its output goes nowhere"),
        (
            lambda d: d["edges"].append({"source": "bars", "target": "dense"}),
            "node dense: it is connected to bars twice",
        ),
        (lambda d: d["edges"].append({"source": "bars", "target": "gone"}), "edge bars → gone has an end"),
        (lambda d: d["edges"].append({"source": "out", "target": "dense"}), "node out: Output has no output"),
        (lambda d: d["edges"].append({"source": "dense", "target": "bars"}), "node bars: Input takes no input"),
        (lambda d: d["nodes"].append({**d["nodes"][3], "id": "two"}), "node two: there may be only one Output"),
        (lambda d: d["nodes"].pop(3) and d["edges"].pop(), "there is no Output node"),
    ],
)
def test_what_is_wrong_is_said_with_its_node(change: Change, said: str, workspace: Workspace) -> None:
    assert any(text.startswith(said) for text in found(workspace, change)), found(workspace, change)


def test_a_cycle_is_named(workspace: Workspace) -> None:
    def change(data: dict[str, Any]) -> None:
        data["nodes"].append({"id": "more", "component": "Dense"})
        data["edges"] += [{"source": "dense", "target": "more"}, {"source": "more", "target": "dense"}]

    assert any(
        "dense → more → dense form a cycle" in text or "more → dense → more" in text
        for text in found(workspace, change)
    )


def test_what_is_no_canvas_is_refused() -> None:
    with pytest.raises(UserError, match=r"this is not a canvas.*nodes"):
        parse_canvas({"name": "x", "nodes": [3]})
    with pytest.raises(UserError, match="this is not a canvas"):
        parse_canvas("{")


def test_a_canvas_is_stored_as_it_is_and_its_name_stays_in_its_folder(workspace: Workspace) -> None:
    design = parse_canvas(canvas())
    save_canvas(workspace, design)
    assert load_canvas(workspace, "up") == design and canvases(workspace) == ["up"]
    with pytest.raises(UserError, match=r"'down'.*up"):
        load_canvas(workspace, "down")
    for name in ("../up", "", "a/b"):
        with pytest.raises(UserError, match="not usable"):
            load_canvas(workspace, name)


def test_the_program_of_a_canvas_builds_the_same_model_without_lit(workspace: Workspace, tmp_path: Path) -> None:
    data = canvas(seed=7, schedule="cosine")
    data["nodes"].append({"id": "2 wide-layers", "component": "Dense", "properties": {"activation": "gelu"}})
    data["edges"] += [{"source": "bars", "target": "2 wide-layers"}, {"source": "2 wide-layers", "target": "out"}]
    design, components = parse_canvas(data), load_components(workspace)
    text = as_script(design, components, FEATURES)
    assert "import lit" not in text and "from lit" not in text
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "program.py", "exec"), names)
    model, settings = names["build"]()
    seed_everything(7)
    own = compile_canvas(design, components, FEATURES)
    assert json.dumps(model.get_config(), default=str) == json.dumps(own.model.get_config(), default=str)
    for one, other in zip(model.get_weights(), own.model.get_weights(), strict=True):
        assert one.tobytes() == other.tobytes()
    assert {k: v for k, v in settings.items() if k != "optimizer"} == {
        k: v for k, v in own.settings.items() if k != "optimizer"
    }
    assert settings["optimizer"].get_config() == own.settings["optimizer"].get_config()
    assert names["INPUTS"] == ["bars", "atr"]
    own.model.save(tmp_path / "model.h5", include_optimizer=False)
    model.set_weights([np.zeros_like(value) for value in model.get_weights()])
    model.load_weights(tmp_path / "model.h5")
    assert model.get_weights()[-2].tobytes() == own.model.get_weights()[-2].tobytes()


def test_the_command_writes_the_program(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIT_DATA", str(workspace.data))
    write_asset(workspace, train=10, test=10)
    save_canvas(workspace, parse_canvas(canvas()))
    done = CliRunner().invoke(app, ["train", "up", "--team", workspace.team, "--script", str(tmp_path / "up.py")])
    assert done.exit_code == 0, done.output
    expected = as_script(parse_canvas(canvas()), load_components(workspace), FEATURES)
    assert (tmp_path / "up.py").read_text() == expected
    star = load_components(workspace)["Dense"].source.replace("from keras", "from keras.layers import *\nfrom keras", 1)
    save_component(workspace, "Dense", star)
    with pytest.raises(UserError, match=r"Dense imports \*"):
        as_script(parse_canvas(canvas()), load_components(workspace), FEATURES)
