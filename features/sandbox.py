"""Running a user's code where it can do no harm to the platform: a process of its own, with time and memory limits.

A call names a function of ours and gives it JSON; the child imports that function, runs it and answers in JSON. The
child's environment has no secrets, what the code prints or logs is returned, and a crash, an endless loop or a hunger
for memory becomes a sentence with the script's line. This bounds accidents; it is no wall against malice: the code
still may read what its user may read.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lit.features.served import Server
from lit.streams.errors import FaultError, LitError, UserError

#: Environment that a child needs to run at all; everything else stays behind.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LIT_DATA")
_LOG_LIMIT = 64 * 1024
_GRACE = 60.0  # start of the interpreter and imports, on a busy machine
_FRAME = re.compile(r'File "([^"]+)", line (\d+) in')


class SandboxError(UserError):
    """What a user's code did instead of answering.

    Parameters
    ----------
    message
        One sentence, with the script's line where one is to blame.
    line
        That line.
    log
        What the code printed and logged before.
    """

    def __init__(self, message: str, line: int | None = None, log: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.log = log


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call returned, and what it printed and logged on the way."""

    value: Any
    log: str


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    seconds: float = 30.0,
    memory: int = 2 << 30,
    written: int = 64 << 20,
    serve: Any = None,
) -> Answer:
    """Run a function in a child process.

    Parameters
    ----------
    function
        `package.module:name` of a function that takes and returns what JSON can carry.
    arguments
        Its keyword arguments.
    seconds
        Time it may take, imports not counted.
    memory
        Bytes it may allocate beyond what the imports took.
    written
        Bytes that a file it writes may have, what it prints among them.
    serve
        An adapter that stays here and is read by the child (`lit.features.served`); the function is given `served`.

    Raises
    ------
    SandboxError
        If the code raised, crashed, or went beyond a limit: which, and at which line.
    FaultError
        If the child could not be started.
    """
    request: dict[str, Any] = {"function": function, "arguments": arguments, "seconds": seconds}
    request |= {"memory": memory, "written": written}
    server = None if serve is None else Server(serve)
    passed = () if server is None else (server.child_fd,)
    if server is not None:
        request["arguments"] = {**arguments, "served": server.child_fd}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as log:
        request["log"] = log.fileno()
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "lit.features.sandbox"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                env=_environment(),
                start_new_session=True,
                pass_fds=(log.fileno(), *passed),
            )
        except OSError as error:
            raise FaultError(f"no process could be started for a script: {error}") from error
        try:
            if server is not None:
                server.start()
            with suppress(subprocess.TimeoutExpired):
                child.communicate(json.dumps(request).encode(), timeout=seconds + _GRACE)
        finally:
            _end(child)
            if server is not None:
                server.close()
        said = _shortened(_text(log))
        return _answer(child.returncode, _text(output), _text(errors), said, seconds, memory)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(file.tell() - 32 * _LOG_LIMIT, 0))
    return file.read().decode(errors="replace")


def _shortened(text: str) -> str:
    half = _LOG_LIMIT // 2
    return text if len(text) <= _LOG_LIMIT else f"{text[:half]}\n…\n{text[-half:]}"


def _answer(code: int, output: str, errors: str, log: str, seconds: float, memory: int) -> Answer:
    last = output.strip().rpartition("\n")[2]
    try:
        reply = json.loads(last)
    except json.JSONDecodeError:
        place, line = _place(errors)
        raise SandboxError(_cause_of_death(code, errors, place, seconds, memory), line, log) from None
    if reply.get("error"):
        raise SandboxError(reply["error"], reply.get("line"), log)
    return Answer(reply["value"], log)


def _cause_of_death(code: int, errors: str, where: str, seconds: float, memory: int) -> str:
    if "Timeout (" in errors:
        return f"the script took longer than {seconds:g} s{where}: let it do less at a sample"
    if "MemoryError" in errors or "std::bad_alloc" in errors or "Unable to allocate" in errors:
        return f"the script needs more than {memory / 2**20:.0f} MB of memory{where}: let it hold less at a time"
    if code < 0:
        name = signal.Signals(-code).name
        return f"the script crashed its process ({name}){where}"
    last = errors.strip().rpartition("\n")[2]
    return f"the script ended its process (exit code {code}){': ' + last if last else ''}: it must return a value"


def _place(errors: str) -> tuple[str, int | None]:
    """Return the script's place and line out of a traceback that `faulthandler` wrote, innermost frame first."""
    ours = (str(Path(__file__).parent), sys.prefix, sys.base_prefix, "<")  # "<string>": generated code
    frames = _FRAME.findall(errors)
    theirs = [(path, line) for path, line in frames if not path.startswith(ours) and "site-packages" not in path]
    for path, line in [frame for frame in frames if "/scripts/" in frame[0]] or theirs:
        return f", in {Path(path).name}, line {line}", int(line)
    return "", None


def main() -> None:
    """Serve one call: the child's side."""
    reply_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code prints is no reply
    request = json.loads(sys.stdin.read())
    module, _, name = request["function"].partition(":")
    printed = os.fdopen(request["log"], "w", buffering=1)  # by line: what was said before a crash is known
    logging.basicConfig(stream=printed, level=logging.INFO, format="%(levelname)s %(message)s", force=True)
    reply: dict[str, Any] = {"value": None, "error": ""}
    function = getattr(importlib.import_module(module), name)
    _limit(request["memory"], request["written"])
    faulthandler.enable()
    faulthandler.dump_traceback_later(request["seconds"], exit=True)
    try:
        with redirect_stdout(printed):
            reply["value"] = function(**request["arguments"])
    except LitError as error:
        reply["error"] = str(error)
        reply["line"] = getattr(error, "line", None)
    except MemoryError:
        megabytes = request["memory"] / 2**20
        reply["error"] = f"the script needs more than {megabytes:.0f} MB of memory: let it hold less at a time"
    except BaseException as error:  # SystemExit of a script included: whatever it was, the user is told
        reply["error"] = f"{type(error).__name__}: {error}"
    faulthandler.cancel_dump_traceback_later()
    with suppress(OSError, ValueError):  # the disk is full, or the code closed it
        printed.flush()
    reply_to.write("\n" + json.dumps(reply) + "\n")
    reply_to.flush()
    os._exit(0)  # threads of the code must not keep the process


def _limit(memory: int, written: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (total, total))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))


if __name__ == "__main__":
    main()
