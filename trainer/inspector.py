"""Asks `lit.trainer.inspection` what a canvas would become, from a process that must not load TensorFlow.

TensorFlow takes seconds to load, so a process is kept for a team's next question. No team's components run in another
team's process; one that takes too long or dies is replaced at the next question.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import suppress
from multiprocessing.connection import wait
from typing import IO, Any

import msgspec

from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset, asset_path
from lit.trainer.canvas import Canvas, Problem, problems
from lit.trainer.compiler import NodeSummary
from lit.trainer.component import load_components
from lit.trainer.environment import child_environment
from lit.trainer.inspection import Inspection

_START_SECONDS = 120.0


class Inspector:
    """Keeps a process for each of the last few teams that asked.

    Parameters
    ----------
    seconds
        Time that building one model may take.
    processes
        How many may be kept; each holds half a gigabyte.
    """

    def __init__(self, seconds: float = 60.0, processes: int = 2) -> None:
        self._seconds, self._processes = seconds, processes
        self._kept: OrderedDict[str, _Process] = OrderedDict()
        self._lock = threading.Lock()

    def inspect(self, workspace: Workspace, canvas: Canvas) -> Inspection:
        """Return what is wrong with a canvas of a team, or what its nodes become.

        Raises
        ------
        UserError
            If the canvas names no asset, the asset is not built, or building the model goes beyond a limit.
        """
        asset = canvas.settings.get("asset")
        if not asset:
            raise UserError(f"canvas {canvas.name!r} does not say its asset: fill in its settings")
        path = asset_path(workspace, str(asset))[0]
        components = load_components(workspace)
        with Asset(path) as train:
            found = problems(canvas, components, train.features)
        if found:  # most mistakes are plain without Keras, and told at once
            return Inspection(found)
        used = {node.component for node in canvas.nodes} | ({"Globals"} & components.keys())
        request = {
            "canvas": msgspec.to_builtins(canvas),
            "components": {name: components[name].source for name in used},
            "asset": str(path.resolve()),
        }
        reply = self._process(str(workspace.root)).ask(request, self._seconds)
        if error := reply.get("error"):
            raise (UserError if reply["code"] == UserError.exit_code else FaultError)(error)
        return Inspection(
            [Problem(**item) for item in reply["problems"]],
            [NodeSummary(n["node"], n["component"], tuple(n["shape"]), n["parameters"]) for n in reply["nodes"]],
            reply["parameters"],
            reply["task"],
            reply["loss"],
        )

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            while self._kept:
                self._kept.popitem()[1].end()

    def _process(self, key: str) -> _Process:
        with self._lock:
            process = self._kept.pop(key, None) or _Process()
            self._kept[key] = process
            while len(self._kept) > self._processes:
                self._kept.popitem(last=False)[1].end()
            return process


class _Process:
    """One child, started when first asked; one question at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the reply to a request, within so many seconds of a process that is ready."""
        with self._lock:
            child = self._started()
            assert child.stdin and child.stdout
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
            line = _line(child.stdout, seconds)
            if line:
                reply: dict[str, Any] = json.loads(line)
                return reply
            self._end()
        raise UserError(
            "building the model ended its process: it needs too much memory, or a component ends Python"
            if line == ""
            else f"building the model took longer than {seconds:g} s: have fewer or smaller layers"
        )

    def end(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        if self._child and self._child.poll() is None:
            return self._child
        command = [sys.executable, "-m", "lit.trainer.inspection"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(command, text=True, start_new_session=True, env=child_environment(), **pipes)
        self._child = child
        assert child.stdout
        if _line(child.stdout, _START_SECONDS) != "ready\n":
            self._end()
            raise FaultError("the process that builds models did not start: see whether TensorFlow can be imported")
        return child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream:
                with suppress(BrokenPipeError):
                    stream.close()


def _line(stream: IO[str], seconds: float) -> str | None:
    """Return the next line, empty at the stream's end; None if nothing comes in time."""
    return stream.readline() if wait([stream.fileno()], seconds) else None
