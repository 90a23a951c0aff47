"""Builds from Python; datasets without a test part; what scripts may log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lit.features.library import save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.processors.build import BuildProgress, BuildStopped
from lit.processors.verify import verify_dataset
from lit.processors.watch import LINES_A_SECOND, ScriptLines
from lit.sdk import build as sdk
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES


@pytest.mark.kafka
def test_a_build_is_made_stopped_resumed_and_listed_from_python(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIT_DATA", str(tmp_path))
    monkeypatch.setenv("LIT_KAFKA", kafka)
    team = Workspace(tmp_path, "python")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(team, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    path = str(SAMPLES / "IBM.N_20131007.csv.gz")
    save_schema(team, Schema("small", [path], ["per_minute", "bars"], split=Split("date", "2014-01-01")))

    def stop(_: BuildProgress) -> None:
        sdk.stop("python", 1)

    with pytest.raises(BuildStopped, match="was stopped"):
        sdk.build("python", "small", on_progress=stop)
    assert [(view.build, view.status) for view in sdk.builds("python")] == [(1, "stopped")]
    stages = []
    done = sdk.build("python", "small", on_progress=lambda progress: stages.append(progress.stage))
    assert done.build == 2 and {"features", "merge"} <= set(stages)
    assert done.parts["train"]["samples"] > 100 and done.parts["test"]["samples"] == 0
    again = sdk.build("python", "small")
    assert again.unchanged and again.parts == done.parts
    for number, action, said in (
        (2, sdk.resume, "is complete"),
        (2, sdk.stop, "not running"),
        (9, sdk.stop, "no build 9"),
    ):
        with pytest.raises(UserError, match=said):
            action("python", number)

    assert verify_dataset(team, "small", samples=20).compared == 20
    team.path("assets", "small", "queue", "test.h5").unlink()
    verdict = verify_dataset(team, "small", samples=20)
    assert (verdict.compared, verdict.differences) == (20, [])


def test_scripts_log_a_bounded_number_of_lines_a_second_and_the_rest_is_counted() -> None:
    lines = ScriptLines()

    def said(path: str, second: float) -> tuple[bool, str]:
        record = logging.LogRecord("x", logging.INFO, path, 1, "at %d", (7,), None)
        record.created = second
        return lines.filter(record), record.getMessage()

    first = [said("noisy.py", 100.0 + number / 100)[0] for number in range(80)]
    assert first == [True] * LINES_A_SECOND + [False] * (80 - LINES_A_SECOND)
    assert said("/site-packages/lit/processors/features.py", 100.9) == (True, "at 7")
    assert said("noisy.py", 101.0) == (True, f"at 7 ({80 - LINES_A_SECOND} lines of scripts held back before this one)")
    assert said("noisy.py", 101.1) == (True, "at 7")
