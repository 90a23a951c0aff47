"""Commands end in order whenever, and however often, they are told to."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

#: The main thread is amid the event's own code, which holds its lock, when the signals come.
PROGRAM = """
import os, sys, time
from lit.signals import halting
with halting() as halt:
    with halt._cond:
        for number in sys.argv[1:]:
            os.kill(os.getpid(), int(number))
            time.sleep(0.01)
    halt.wait()
print("ended in order")
"""


@pytest.mark.parametrize("numbers", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM) * 20])
def test_a_signal_that_comes_amid_waiting_ends_a_command(numbers: tuple[int, ...]) -> None:
    command = [sys.executable, "-c", PROGRAM, *(str(int(number)) for number in numbers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ended in order\n"), done.stderr
