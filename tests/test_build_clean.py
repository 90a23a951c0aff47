"""What builds keep is shown and freed, never under a running build; a build afterwards makes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lit.features.library import save_feature
from lit.features.schema import Schema, Split, save_schema
from lit.processors.build import build
from lit.processors.cleanup import clean, kept_chunks
from lit.processors.progress import driving
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES


@pytest.mark.kafka
def test_kept_chunks_are_freed_and_a_build_afterwards_is_the_same(kafka: str, tmp_path: Path) -> None:
    team = Workspace(tmp_path, "tidy")
    save_feature(team, "per_minute", "per_unit", {"unit": "minute"})
    save_feature(team, "bars", "unit_bar", {"count": 20, "size": 1, "unit": "minute"})
    path = str(SAMPLES / "IBM.N_20131007.csv.gz")
    save_schema(team, Schema("small", [path], ["per_minute"], split=Split("random", 0.3, 7)))
    assert kept_chunks(team) == []
    with pytest.raises(UserError, match="nothing is kept"):
        clean(team, "small")
    build(team, "small", kafka)
    (kept,) = kept_chunks(team)
    disk = [file for file in team.path("build", "small", "tmp").rglob("*") if file.is_file()]
    assert (kept.schema, kept.files, kept.bytes) == ("small", len(disk), sum(f.stat().st_size for f in disk))
    with driving(team.path("build", "small"), "it"), pytest.raises(UserError, match="running already"):
        clean(team, "small")
    assert kept_chunks(team) == [kept]
    assert clean(team, "small") == kept
    assert kept_chunks(team) == []
    assert build(team, "small", kafka).unchanged

    save_schema(team, Schema("small", [path], ["per_minute", "bars"], split=Split("random", 0.3, 7)))
    after = build(team, "small", kafka)
    assert after.reused == 0
    save_schema(team, Schema("other", [path], ["per_minute", "bars"], split=Split("random", 0.3, 7)))
    assert build(team, "other", kafka).parts == after.parts
