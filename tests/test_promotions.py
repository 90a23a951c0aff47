"""Promotion: both parts or none, recorded once, whoever comes at the same time or is killed half-way."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from lit.features.content import content_digest
from lit.streams.errors import FaultError, LitError, UserError
from lit.streams.workspace import Workspace
from lit.trainer import promotions
from lit.trainer.asset import Asset, asset_path, open_parts
from lit.trainer.asset_folder import FILES, asset_folder
from lit.trainer.audit_file import audited, kept_audit
from lit.trainer.experiments import start, stop, wait
from lit.trainer.promotions import demote, history, promote, status
from tests.training import canvas, write_asset


def build(workspace: Workspace, samples: int = 60, number: int = 1) -> dict[str, str]:
    """Write another version into the queue, as a build does: drafts that take the place of what was there."""
    write_asset(workspace, "draft", samples, samples // 3)
    queue, digests = workspace.folder("assets", "small", "queue"), {}
    for part in ("train", "test"):
        path = workspace.path("assets", "draft", "queue") / f"{part}.h5"
        with h5py.File(path, "r+") as file:
            file.attrs["schema"] = json.dumps({"build": number, "schema": {"name": "small"}})
            file.attrs["digest"] = digests[part] = content_digest(file)
        path.replace(queue / f"{part}.h5")
    for folder in (queue.parent.parent / "draft" / "queue", queue.parent.parent / "draft"):
        folder.rmdir()
    return digests


def test_a_promoted_asset_says_who_when_and_what(workspace: Workspace) -> None:
    digests = build(workspace)
    assert status(workspace, "small").state == "queued" and not asset_path(workspace, "small")[1]
    audited(workspace.path("assets", "small", "queue"))
    record = promote(workspace, "small", "ann", "looks well")
    assert (record.action, record.by, record.digests, record.replaces) == ("promote", "ann", digests, None)
    found = status(workspace, "small")
    assert (found.state, found.last, found.queue) == ("promoted", record, None)
    assert kept_audit(workspace.path("assets", "small")) is not None and found.promoted and found.promoted.audited
    assert asset_path(workspace, "small") == (workspace.path("assets", "small") / "train.h5", True)
    with pytest.raises(UserError, match=r"nothing in its queue to promote .promoted by ann"):
        promote(workspace, "small", "ben")

    newer = build(workspace, 90, 2)
    assert status(workspace, "small").state == "promoted"
    with pytest.raises(UserError, match=r"another version .* is in its queue"):
        demote(workspace, "small", "ben")
    unseen = promote(workspace, "small", "ben")
    assert unseen.replaces == digests and record.audited and not unseen.audited
    demoted = demote(workspace, "small", "cat")
    assert demoted.digests == newer and status(workspace, "small").state == "queued"
    with pytest.raises(UserError, match=r"is not promoted .demoted by cat"):
        demote(workspace, "small", "cat")
    assert [(one.action, one.by) for one in history(workspace, "small")] == [
        ("promote", "ann"),
        ("promote", "ben"),
        ("demote", "cat"),
    ]
    lines = (workspace.path("assets", "small") / "promotions.jsonl").read_text().splitlines()
    assert [json.loads(line)["by"] for line in lines] == ["ann", "ben", "cat"]


def test_files_moved_by_hand_are_used_and_seen(workspace: Workspace) -> None:
    build(workspace)
    folder = workspace.path("assets", "small")
    for part in ("train.h5", "test.h5"):
        (folder / "queue" / part).rename(folder / part)
    assert status(workspace, "small").state == "promoted by hand" and open_parts(workspace, "small")[2]
    (folder / "train.h5").rename(folder / "queue" / "train.h5")
    assert status(workspace, "small").state == "torn"
    with pytest.raises(UserError, match="two builds"):
        open_parts(workspace, "small")
    (folder / "test.h5").rename(folder / "queue" / "test.h5")
    assert status(workspace, "small").state == "queued"
    promote(workspace, "small", "ann")
    for part in ("train.h5", "test.h5"):
        (folder / part).rename(folder / "queue" / part)
    assert status(workspace, "small").state == "demoted by hand"


def test_what_is_not_what_it_says_is_not_promoted(workspace: Workspace) -> None:
    build(workspace)
    queue = workspace.path("assets", "small", "queue")
    with h5py.File(queue / "test.h5", "r+") as file:
        file["up"][0] = 9
    with pytest.raises(FaultError, match=r"test.h5 is not what its digest says"):
        promote(workspace, "small", "ann")
    assert [(one.part, one.intact) for one in promotions.verify(workspace, "small")] == [
        ("train", True),
        ("test", False),
    ]
    build(workspace, 60, 1)
    kept = (queue / "test.h5").read_bytes()
    build(workspace, 60, 2)
    (queue / "test.h5").write_bytes(kept)
    with pytest.raises(UserError, match="of two builds"):
        promote(workspace, "small", "ann")
    (queue / "test.h5").write_bytes(kept[:3000])
    found = status(workspace, "small")
    assert found.queue and "not readable as HDF5" in found.queue.error
    with pytest.raises(FaultError, match="build it again"):
        promote(workspace, "small", "ann")
    with pytest.raises(UserError, match=r"no asset 'other'.*small"):
        promote(workspace, "other", "ann")
    assert history(workspace, "small") == []


def test_a_version_that_comes_while_another_is_checked_is_not_promoted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(workspace)
    check = promotions.checked_part

    def slow(part: Asset) -> promotions.CheckedPart:
        found = check(part)
        if part.path.stem == "test":
            build(workspace, 90, 2)
        return found

    monkeypatch.setattr(promotions, "checked_part", slow)
    with pytest.raises(UserError, match="replaced or moved while it was checked"):
        promote(workspace, "small", "ann")
    assert status(workspace, "small").state == "queued" and history(workspace, "small") == []


def test_of_many_promoters_one_promotes(workspace: Workspace) -> None:
    digests = build(workspace)

    def attempt(number: int) -> str:
        try:
            return promote(workspace, "small", f"user {number}").by
        except LitError as error:
            return f"refused: {error}"

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    winners = [result for result in results if not result.startswith("refused")]
    assert len(winners) == 1, results
    assert [one.by for one in history(workspace, "small")] == winners
    assert status(workspace, "small").promoted and status(workspace, "small").promoted.digests == digests  # type: ignore[union-attr]


def test_readers_never_see_parts_of_two_versions(workspace: Workspace) -> None:
    versions = [build(workspace)]
    promote(workspace, "small", "first")
    done, seen = threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            train, test, _ = open_parts(workspace, "small")
            seen.add((train.digest, test.digest))
            train.close(), test.close()

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(12):
            versions.append(build(workspace, 63 + 3 * number, 2 + number))
            promote(workspace, "small", "next")
        done.set()
        for reader in readers:
            reader.result(60)
    assert seen <= {(one["train"], one["test"]) for one in versions} and len(seen) > 3


def test_assets_are_read_where_nothing_may_be_written(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    build(workspace)
    folder = workspace.path("assets", "small")
    (folder.parent / "no asset!").mkdir()
    before = sorted(path.name for path in folder.rglob("*"))
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    monkeypatch.setattr("lit.trainer.audit_file._keep", lambda *_: (_ for _ in ()).throw(PermissionError("read-only")))
    assert len(open_parts(workspace, "small")[0]) == 60 and audited(folder / "queue").train.samples == 60
    assert [one.schema for one in promotions.statuses(workspace)] == ["small"]
    assert sorted(path.name for path in folder.rglob("*")) == before


_MOVER = """
import os, sys
from pathlib import Path
from lit.streams.workspace import Workspace
from lit.trainer import asset_folder
from lit.trainer.promotions import promote
left = int(sys.argv[2])
def step(true):
    def wrapped(*arguments):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)
        return true(*arguments)
    return wrapped
Path.replace, asset_folder._append = step(Path.replace), step(asset_folder._append)
Path.unlink = step(Path.unlink)
promote(Workspace(Path(sys.argv[1]), "demo"), "small", "killed")
"""


@pytest.mark.fault
def test_a_promoter_killed_at_any_step_leaves_the_old_version_or_the_new_one(workspace: Workspace) -> None:
    old = build(workspace)
    audited(workspace.path("assets", "small", "queue"))
    promote(workspace, "small", "first")
    outcomes = []
    for step in range(16):
        new = build(workspace, 90 + step, 2 + step)
        audited(workspace.path("assets", "small", "queue"))
        done = subprocess.run([sys.executable, "-c", _MOVER, str(workspace.data), str(step)], check=False)
        if done.returncode == 0:
            outcomes.append("done")
            break
        assert done.returncode == -signal.SIGKILL
        if step % 2:  # a build goes on meanwhile
            later = build(workspace, 300, 100 + step)
        train, test, promoted = open_parts(workspace, "small")
        digests = {"train": train.digest, "test": test.digest}
        train.close(), test.close()
        assert promoted and digests in (old, new)
        recorded = history(workspace, "small")[-1]
        assert recorded.digests == digests and status(workspace, "small").state == "promoted"
        outcomes.append("new" if digests == new else "old")
        if step % 2:
            queue = status(workspace, "small").queue
            assert queue and queue.digests == later
        old = digests
    assert re.fullmatch(r"(old ){1,5}(new ){7,}done", " ".join(outcomes)), outcomes
    assert len({one.at + one.by for one in history(workspace, "small")}) == len(history(workspace, "small"))


def test_a_line_that_was_cut_off_is_no_promotion_and_does_not_spoil_the_next(workspace: Workspace) -> None:
    build(workspace)
    log = asset_folder(workspace, "small") / "promotions.jsonl"
    log.write_text('{"action":"promote","sch')
    assert history(workspace, "small") == []
    promote(workspace, "small", "ann")
    assert [one.by for one in history(workspace, "small")] == ["ann"]
    assert not [
        path for path in log.parent.iterdir() if path.name not in (*FILES, "queue", "promotions.jsonl", ".lock")
    ]


def test_a_running_training_keeps_the_version_it_opened(workspace: Workspace) -> None:
    old = build(workspace, 600)
    promote(workspace, "small", "ann")
    folder = start(workspace, canvas(epochs=500))
    deadline = time.monotonic() + 120
    while len(folder.perf()) < 2 and time.monotonic() < deadline:
        assert folder.status() in ("queued", "running"), folder.log_tail()
        time.sleep(0.05)
    build(workspace, 30, 2)
    promote(workspace, "small", "ben")
    done = len(folder.perf())
    while len(folder.perf()) < done + 3 and time.monotonic() < deadline:
        assert folder.status() == "running", folder.log_tail()
        time.sleep(0.05)
    stop(folder)
    assert wait(folder).status == "stopped"
    asset = folder.read_json("features.json")["asset"]
    assert asset["digest"] == old["train"] and asset["promoted"] and asset["samples"] == {"train": 600, "test": 200}
    assert len(open_parts(workspace, "small")[0]) == 30
    losses = [row["loss"] for row in folder.perf()]
    assert np.isfinite(losses).all() and len(losses) >= done + 3
