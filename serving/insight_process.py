"""Keeps the processes that insights are computed in: begun at the first question, bounded, replaced when they die.

A team has a process of its own, as its models' feature scripts run there; the last few teams' are kept.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import IO, Any

from lit.serving.insight_worker import read_frame, write_frame
from lit.streams.errors import FaultError, UserError
from lit.trainer.environment import child_environment

#: Loading TensorFlow on a busy machine; loading a model; and what one question may take.
START_SECONDS, QUESTION_SECONDS = 120.0, 60.0
#: So long after the last question, the processes end.
IDLE_SECONDS = 900.0
#: Teams whose process is kept; each holds half a gigabyte.
KEPT = 2
#: Questions of a team that may wait; who asks more is told to come again.
WAITING = 16


class InsightProcesses:
    """Asks questions of `lit.serving.insight_worker.Worker`, by team.

    Parameters
    ----------
    seconds
        What one question may take, waiting not counted.
    idle
        Seconds without a question after which processes end, to give their memory back.
    """

    def __init__(self, seconds: float = QUESTION_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._seconds, self._idle = seconds, idle
        self._rest: threading.Timer | None = None
        self._kept: OrderedDict[str, _Process] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, team: str, question: str, arguments: dict[str, Any]) -> Any:
        """Return the answer to a question.

        Raises
        ------
        UserError
            If the model or a script of it is at fault, or the process died of it.
        FaultError
            If the process does not start, or too much is asked at once.
        """
        with self._lock:
            if team not in self._kept:
                self._make_room()
            process = self._kept.pop(team, None) or _Process()
            self._kept[team] = process
            self._rest_after(None)
        try:
            return process.ask(question, arguments, self._seconds)
        finally:
            with self._lock:
                self._rest_after(self._idle)

    def _rest_after(self, seconds: float | None) -> None:
        if self._rest is not None:
            self._rest.cancel()
        self._rest = None
        if seconds is not None:
            self._rest = threading.Timer(seconds, self.end_idle)
            self._rest.daemon = True
            self._rest.start()

    def end_idle(self) -> None:
        """End the processes that nobody waits for."""
        with self._lock:
            for team in [team for team, process in self._kept.items() if not process.busy]:
                self._kept.pop(team).end()

    def _make_room(self) -> None:
        while len(self._kept) >= KEPT:
            idle = next((team for team, process in self._kept.items() if not process.busy), None)
            if idle is None:
                raise FaultError(f"insights of {KEPT} other teams are under way: try again in a moment")
            self._kept.pop(idle).end()

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._rest_after(None)
            while self._kept:
                self._kept.popitem()[1].end()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by team."""
        with self._lock:
            return {team: process.pid for team, process in self._kept.items() if process.pid}


class _Process:
    """One child; its answers are read by a thread and given to whoever waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The child's process id; 0: none runs."""
        return self._child.pid if self._child and self._child.poll() is None else 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._waiting) or self._lock.locked()

    def ask(self, question: str, arguments: dict[str, Any], seconds: float) -> Any:
        """Return the answer to a question (see `InsightProcesses.ask`)."""
        answer: Future[Any] = Future()
        with self._lock:
            if len(self._waiting) >= WAITING:
                raise FaultError(f"{WAITING} insights are under way already: try again in a moment")
            child = self._started()
            number = next(self._numbers)
            self._waiting[number] = answer
            seconds *= len(self._waiting)
            assert child.stdin
            began = time.monotonic()
            # a timer ends the child, and so whatever waits for it, the writing of a question too
            timer = threading.Timer(seconds, self._end, args=(child,))
            timer.daemon = True
            timer.start()
            with suppress(BrokenPipeError):  # it has just died: its reader tells
                write_frame(child.stdin, {"id": number, "question": question, "arguments": arguments})
        reply = answer.result()
        timer.cancel()
        if "error" in reply and time.monotonic() - began >= seconds:
            raise UserError(
                f"the insight took longer than {seconds:g} s: the model, or one of its features, is too slow"
            )
        if (error := reply.get("error")) is not None:
            raise (FaultError if reply["fault"] else UserError)(error)
        return reply["value"]

    def end(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            child = self._child
        if child is not None:
            self._end(child)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child and self._child.poll() is None:
            return self._child
        child = subprocess.Popen(
            [sys.executable, "-m", "lit.serving.insight_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=child_environment(),
        )
        self._child = child
        assert child.stdout
        ready: Future[Any] = Future()
        self._waiting = {0: ready}
        threading.Thread(
            target=_listen, args=(child, child.stdout, self._waiting), name="insight-replies", daemon=True
        ).start()
        try:
            reply = ready.result(START_SECONDS)
        except FutureTimeout:
            reply = {"error": "it takes too long"}
        if "error" in reply:
            self._end(child)
            raise FaultError("the process that computes insights did not start: see whether TensorFlow can be imported")
        return child

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _listen(child: subprocess.Popen[bytes], replies: IO[bytes], waiting: dict[int, Future[Any]]) -> None:
    """Hand each reply to who waits for it; at the child's end, tell all that wait."""
    with suppress(Exception):  # a torn frame is an end too
        while (reply := read_frame(replies)) is not None:
            if (answer := waiting.pop(reply.get("id", 0), None)) is not None:
                answer.set_result(reply)
    child.wait()
    why = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    text = f"the process that computes insights ended ({why}): the model needs too much memory, or a script ends Python"
    for number in list(waiting):
        if (answer := waiting.pop(number, None)) is not None:
            answer.set_result({"error": text, "fault": False})
