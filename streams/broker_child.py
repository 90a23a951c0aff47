"""Runs the broker's Java and ends it when the parent is gone, however the parent ended.

A small process between the two: the parent holds the other end of a pipe, which the system closes at its death. This
works wherever pipes do, unlike a death signal, which Linux alone has and which follows the parent's *thread*.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

#: What a clean shutdown may take before the Java is killed.
GRACE = 20.0


def main() -> int:
    """Run `argv[2:]` until it ends; SIGTERM it on SIGTERM or when the pipe `argv[1]` closes."""
    pipe = int(sys.argv[1])
    process = subprocess.Popen(sys.argv[2:], preexec_fn=_die_with_this_process)

    def end(_signal: int, _frame: FrameType | None) -> None:
        process.terminate()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_watch, args=(pipe, process), daemon=True).start()
    return process.wait()


def _die_with_this_process() -> None:
    # Should this process itself be killed, nobody could end the Java, which would keep the folder locked.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _watch(pipe: int, process: subprocess.Popen[bytes]) -> None:
    os.read(pipe, 1)  # returns when the last writer is gone: nobody ever writes
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    raise SystemExit(main())
