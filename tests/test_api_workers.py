"""Worker processes die with the process that started them; their logs stay small and tell what went wrong last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from lit.api.workers import last_sentence, rotate

PARENT = """
import subprocess, time
from lit.api.bound import bound_argv
child = subprocess.Popen(bound_argv(("sh", "-c", "echo became; exec sleep 60")), stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_bound_worker_keeps_its_pid_and_is_killed_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.ppid() == parent.pid
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs([worker], timeout=10)
    # Where nothing reaps orphans, a killed process stays in the table.
    assert not alive or worker.status() == psutil.STATUS_ZOMBIE


def test_a_log_is_rotated_under_its_writer_which_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "bars.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100 + b"\n")
        assert not rotate(log, limit=1000)
        assert rotate(log, limit=50)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "bars.log.1").read_bytes() == b"x" * 100 + b"\n"
    assert not rotate(tmp_path / "none.log")


def test_the_last_sentence_is_of_this_start_only(tmp_path: Path) -> None:
    log = tmp_path / "bars.log"
    log.write_text("old failure\n")
    start = log.stat().st_size
    assert last_sentence(log, start) is None
    with log.open("a") as writer:
        writer.write("starting\nstream 'x' is unknown: add it first\n\n")
    assert last_sentence(log, start) == "stream 'x' is unknown: add it first"
    assert last_sentence(tmp_path / "none.log") is None
    for usual in (
        "2024-03-05 14:30:00.001 77 INFO lit.x - tell: m: A → 0.5 (3 ms)",
        '{"level": "INFO", "message": "m"}',
    ):
        log.write_text(f"lit: an older mistake\n{usual}\n")
        assert last_sentence(log) is None  # it was killed while it worked
