"""Caching as a process: stopped, killed or repeated, it leaves no gap and no double; files say how far they are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lit.streams import caching, topics
from lit.streams.cached import CachedFile, cached_files, note
from lit.streams.clients import bounds, consumer
from lit.streams.codec import decode
from lit.streams.errors import FaultError, UserError
from lit.streams.raw_files import delete_raw_file, raw_files, raw_path, raw_root
from lit.streams.sources import load_adapter
from lit.streams.store_open import open_store
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace
from tests.tape import SAMPLES, real_ticks

IBM = "IBM.N_20131007.csv.gz"


@pytest.fixture
def raw(workspace: Workspace) -> Path:
    folder = workspace.folder("raw").absolute()
    shutil.copy(SAMPLES / IBM, folder)
    return folder


def lit(data: Path, kafka: str, *arguments: str, slow: float = 0.0) -> subprocess.Popen[str]:
    """Run `lit …`; `slow` lets it wait at each block, so that it can be met in the middle."""
    code = (
        "import sys, time, lit.streams.replay_send as r, lit.streams.cache as c; send = r.Sender.send;"
        "c.BLOCK_TICKS = 2000;"
        f"r.Sender.send = lambda *a: (time.sleep({slow}), send(*a))[1];"
        "from lit.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "LIT_DATA": str(data), "LIT_KAFKA": kafka},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ticks_in(kafka: str, topic: str, wait: bool = False) -> int:
    """Return how many ticks a topic holds, repeats included."""
    reader = consumer(kafka, "test-count")
    try:
        from confluent_kafka import TopicPartition

        total, ends = 0, {}
        for number in reader.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = bounds(reader, topic, number)
            if low < high:
                ends[number] = high
        reader.assign([TopicPartition(topic, number, 0) for number in ends])
        while ends:
            message = reader.poll(5.0)
            assert message is not None and not message.error()
            item = decode(message.key(), message.value(), message.headers())
            total += len(item) if isinstance(item, TickBlock) else 0
            if message.offset() + 1 >= ends[message.partition()]:
                del ends[message.partition()]
        return total
    finally:
        reader.close()


def until_sent(workspace: Workspace, path: Path, ticks: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while caching.status_of(workspace, caching.job_key(str(path))).sent < ticks and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.kafka
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_or_killed_in_the_middle_it_goes_on_without_gap_or_double(
    kafka: str, tmp_path: Path, number: signal.Signals
) -> None:
    team = f"caching{number.name.lower()}"
    workspace = Workspace(tmp_path, team)
    path = workspace.folder("raw").absolute() / IBM
    shutil.copy(SAMPLES / IBM, path)
    topic = topics.ticks(team, "refinitiv").name
    first = lit(tmp_path, kafka, "cache", str(path), "--team", team, slow=0.3)
    until_sent(workspace, path, 6000, first)
    first.send_signal(number)
    _, said = first.communicate(timeout=60)
    assert "Traceback" not in said
    before = ticks_in(kafka, topic)
    assert 0 < before < len(real_ticks("IBM.N", 1))
    (shown,) = raw_files(workspace)
    assert shown.state == ("waiting" if number == signal.SIGKILL else "stopped") and not shown.cached
    assert len(caching.pending(workspace)) == (number == signal.SIGKILL)  # a server would go on with it by itself

    again = lit(tmp_path, kafka, "cache", str(path), "--team", team, "--json")
    out, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert json.loads(out)["cached"] is True
    tape = real_ticks("IBM.N", 1)
    assert ticks_in(kafka, topic) == len(tape)  # the topic has each tick once, not only the store
    entry = cached_files(workspace)[str(path)]
    with open_store(tmp_path, None) as stores:
        store = stores.team(team)
        assert store.count("refinitiv") == len(tape)
        block = store.window("refinitiv", "IBM.N", 0, len(tape), origin=entry.origin)
        assert block.price.tobytes() == tape.price.tobytes()
        assert block.timestamp.tobytes() == tape.timestamp.tobytes()
    (shown,) = raw_files(workspace)
    assert (shown.path, shown.state, shown.ticks, shown.rows) == (IBM, "cached", len(tape), len(tape))
    assert shown.symbols == {"IBM.N": len(tape)} and shown.first == "2013-10-07T08:00:30.270Z"


def entry_of(workspace: Workspace, path: Path, cached: bool = True) -> CachedFile:
    return CachedFile(
        str(path), "refinitiv", "sha256:0", path.stat().st_size, 5, 4, 1, {"x": 1}, [("A", 4)], "1", "2", cached,
        mtime_ns=path.stat().st_mtime_ns,
    )  # fmt: skip


def run(workspace: Workspace, wish: caching.Wish, monkeypatch: pytest.MonkeyPatch, outcome: Any) -> None:
    """Run a caching whose sending ends in `outcome`."""

    def cache_file(*_: Any, **__: Any) -> CachedFile:
        if isinstance(outcome, Exception):
            raise outcome
        note(workspace, outcome)
        return outcome  # type: ignore[no-any-return]

    monkeypatch.setattr(caching, "cache_file", cache_file)
    caching.run(workspace, wish, "", "", lambda entry: entry)


def test_the_list_tells_new_failed_waiting_cached_and_changed_files_apart(
    workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw / IBM

    def state() -> str:
        (file,) = raw_files(workspace)
        assert file.cached == (file.state == "cached")
        return file.state

    assert state() == "new"
    wish = caching.want(workspace, path, "refinitiv")
    assert state() == "waiting" and caching.pending(workspace) == [wish]
    with pytest.raises(FaultError):
        run(workspace, wish, monkeypatch, FaultError("Kafka is gone"))
    assert state() == "waiting" and raw_files(workspace)[0].error == "Kafka is gone"
    assert caching.pending(workspace) == [wish]
    with pytest.raises(UserError):
        run(workspace, wish, monkeypatch, UserError("no column Price"))
    assert state() == "failed" and caching.pending(workspace) == []
    assert caching.want(workspace, path, "refinitiv") in caching.pending(workspace)  # tried again
    caching.stop(workspace, str(path))
    assert state() == "stopped" and caching.pending(workspace) == []
    run(workspace, caching.want(workspace, path, "refinitiv"), monkeypatch, entry_of(workspace, path))
    assert state() == "cached"
    with path.open("ab") as file:
        file.write(b"more")
    assert state() == "changed"
    path.unlink()
    assert state() == "missing"


def test_a_file_whose_adapter_was_edited_is_not_shown_as_cached(
    workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, loaded = raw / IBM, load_adapter(workspace, "refinitiv", {"exclude": {"odd": "I"}})
    entry = entry_of(workspace, path)
    entry = msgspec.structs.replace(entry, parameters=dict(loaded.parameters), adapter_digest=loaded.digest)
    (raw / "sub").mkdir()
    wish = caching.want(workspace, raw / "sub" / ".." / IBM, "refinitiv", {"exclude": {"odd": "I"}})
    assert wish.path == str(path)
    run(workspace, wish, monkeypatch, entry)
    assert raw_files(workspace)[0].state == "cached"
    own = workspace.root / "adapters" / "refinitiv.py"
    own.write_text(own.read_text() + "\n# edited\n")
    (shown,) = raw_files(workspace)
    assert (shown.state, shown.cached) == ("changed", False) and "was edited since" in str(shown.error)


def test_two_processes_never_cache_one_file_at_once(
    workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = caching.want(workspace, raw / IBM, "refinitiv")
    with caching._locked(workspace, wish), pytest.raises(UserError, match="being cached by another process"):
        run(workspace, wish, monkeypatch, UserError("never comes to this"))
    assert raw_files(workspace)[0].state == "waiting"


def test_a_file_in_use_is_not_deleted(workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw / IBM
    run(workspace, caching.want(workspace, path, "refinitiv"), monkeypatch, entry_of(workspace, path))
    for folder, content in (
        ("schemas", {"paths": [IBM]}),
        ("projects", {"paths": [str(path)]}),
        ("streams", {"adapter": {"name": "replay"}, "parameters": {"paths": [IBM]}}),
    ):
        file = workspace.folder(folder) / "mine.json"
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match=f"used by {folder[:-1]} mine"):
            delete_raw_file(workspace, path)
        file.unlink()
    entry = delete_raw_file(workspace, raw_path(workspace, IBM))
    assert entry is not None and entry.origin == "sha256:0" and not path.exists()
    assert raw_files(workspace) == [] and caching.wishes(workspace) == []


def test_ticks_that_another_file_shares_are_kept_when_one_is_deleted(
    workspace: Workspace, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = raw / "twin.csv.gz"
    shutil.copy(raw / IBM, twin)
    for path in (raw / IBM, twin):
        run(workspace, caching.want(workspace, path, "refinitiv"), monkeypatch, entry_of(workspace, path))
    assert delete_raw_file(workspace, twin) is None
    assert delete_raw_file(workspace, raw / IBM) is not None


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", ".cached.json", "a//b", "a/.b", "", "a\\b", "a\0b"]
)
def test_paths_that_leave_raw_are_refused(workspace: Workspace, raw: Path, name: str) -> None:
    with pytest.raises(UserError, match="not usable"):
        raw_path(workspace, name)


def test_a_link_out_of_raw_is_not_followed_and_hidden_files_are_not_listed(
    workspace: Workspace, raw: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x.csv").write_text("x")
    (raw / "link").symlink_to(tmp_path / "secret")
    (raw / ".hidden.csv").write_text("x")
    with pytest.raises(UserError, match="leads out of raw"):
        raw_path(workspace, "link/x.csv")
    (raw / "sub").mkdir()
    shutil.copy(raw / IBM, raw / "sub" / "a.csv.gz")
    assert [file.path for file in raw_files(workspace)] == [IBM, "sub/a.csv.gz"]
    assert raw_path(workspace, "sub/a.csv.gz") == raw_root(workspace) / "sub" / "a.csv.gz"


def test_damaged_wishes_and_registries_do_not_stop_the_list(workspace: Workspace, raw: Path) -> None:
    wish = caching.want(workspace, raw / IBM, "csv", {"time": "Date-Time"})
    folder = raw / ".caching"
    (folder / f"{wish.key}.status.json").write_text("{")
    (folder / "0123456789abcdef.json").write_text("not json")
    (shown,) = raw_files(workspace)
    assert (shown.state, shown.adapter, shown.parameters) == ("waiting", "csv", {"time": "Date-Time"})
    with pytest.raises(UserError, match="'tiem' is not known"):
        caching.want(workspace, raw / IBM, "csv", {"tiem": "x"})
    assert np.isfinite(shown.size)
