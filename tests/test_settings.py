"""Settings come from the environment, then lit.toml, then defaults; logs are lines of text or JSON."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit.logs import REPEAT_SECONDS, JsonLines, Repeats
from lit.settings import Settings
from lit.streams.errors import UserError


def test_the_environment_comes_before_the_file_and_the_file_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lit.toml").write_text('port = 1234\nhost = "::1"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIT_PORT", "4321")
    found = Settings()
    assert (found.port, found.host, found.replication) == (4321, "::1", 1)


@pytest.mark.parametrize(("name", "value"), [("LIT_PORT", "many"), ("LIT_LOG_LEVEL", "LOUD")])
def test_a_value_that_cannot_be_used_is_named_in_one_sentence(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"{name} is '{value}'"):
        Settings()


def test_the_command_lists_what_can_be_set_and_shows_no_value() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lit.cli", "doctor", "--settings"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LIT_CLICKHOUSE": "clickhouse://user:secret@host/db"},
    )
    assert "secret" not in done.stdout
    for name, field in Settings.model_fields.items():
        assert f"LIT_{name.upper()}" in done.stdout and str(field.description) in done.stdout


def test_a_json_line_holds_all_of_a_record() -> None:
    try:
        raise ValueError("x\ny")
    except ValueError:
        record = logging.LogRecord("a.b", logging.ERROR, "f.py", 1, "%s lost", ('3 "ticks"',), sys.exc_info(), "run")
    lines = JsonLines().format(record).splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["level"], line["logger"], line["function"], line["message"]) == (
        "ERROR",
        "a.b",
        "run",
        '3 "ticks" lost',
    )
    assert line["time"].endswith("Z") and "ValueError: x\ny" in line["error"]


def test_what_a_library_repeats_is_told_once_in_a_while_with_its_number() -> None:
    def said(name: str, message: str, at: float) -> str | None:
        record = logging.LogRecord(name, logging.WARNING, "f.py", 1, message, ("broker",), None)
        record.created = at
        return record.getMessage() if repeats.filter(record) else None

    repeats = Repeats()
    assert said("aiokafka.conn", "%s is gone", 0.0) == "broker is gone"
    assert [said("aiokafka.conn", "%s is gone", REPEAT_SECONDS * share) for share in (0.1, 0.5, 0.9)] == [None] * 3
    assert said("aiokafka.conn", "%s is back", 1.0) == "broker is back"
    assert said("aiokafka.conn", "%s is gone", REPEAT_SECONDS) == "broker is gone (and 3 times since it was last told)"
    assert said("aiokafka.conn", "%s is gone", 3 * REPEAT_SECONDS) == "broker is gone"
    assert [said("lit.processors.app", "%s is gone", 0.0) for _ in range(2)] == ["broker is gone"] * 2
