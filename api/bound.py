"""Makes a child process die with its parent: `python bound.py PARENT_PID COMMAND…` becomes the command.

A fork hook could do it too, but is not safe in a process with threads (and we have a database's). So the child asks
the kernel itself and then becomes the worker: same pid, same creation time. Standard library only: it starts bare.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bound_argv(argv: tuple[str, ...]) -> list[str]:
    """Return the command that runs `argv` such that it is killed when the calling process dies (Linux).

    The kernel watches the thread that starts it: start children from one that lives as long as they should.
    """
    return [sys.executable, "-S", "-E", __file__, str(os.getpid()), *argv]


def _become(parent: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew our wish
            os._exit(1)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
