"""`lit.run`: a training that the user's own program does, kept as a run like those of canvases."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import psutil

from lit import autolog
from lit.provenance import describe, keep_source, main_script
from lit.settings import Settings
from lit.streams.broker import EmbeddedBroker
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer.announce import Announcer
from lit.trainer.runfolder import RunFolder

_active: list[CodeRun] = []


@contextmanager
def run(
    team: str, description: str = "", project: str | None = None, data: Path | str | None = None
) -> Iterator[CodeRun]:
    """Keep what happens within the block as a run in `{team}/train/{project}/{run}/`.

    Source, arguments, git commit and packages are kept, what is printed goes to log.txt too, and an exception marks
    the run failed before it goes on its way. Metrics come from `lit.callbacks.csv()` or `CodeRun.log`; parameters of
    Keras models are noted when their `fit` is called.

    Parameters
    ----------
    team
        Whose run.
    description
        What is tried; may have several lines.
    project
        The project that it belongs to; unset: the name of the program's file.
    data
        The data folder; unset: as configured (`LIT_DATA`).

    Yields
    ------
    CodeRun
        The run.

    Raises
    ------
    UserError
        If a name is not usable.
    """
    script = main_script()
    settings = Settings()
    workspace = Workspace(Path(data or settings.data).resolve(), team)
    name = project or (re.sub(r"[^A-Za-z0-9 _.-]", "_", script.stem).lstrip("_. -") if script else "") or "notebook"
    folder = RunFolder.create(workspace, name, {"kind": "code", **describe(script)}, description)
    keep_source(script, folder.path / "source")
    announcer = Announcer(settings.kafka or EmbeddedBroker(workspace.data).running(), team)
    begun = CodeRun(replace(folder, announce=announcer))
    _active.append(begun)
    autolog.attach(begun)
    try:
        with begun._recorded():
            yield begun
    finally:
        _active.remove(begun)
        autolog.detach()
        if _active:
            autolog.attach(_active[-1])
        announcer.close()


def current() -> CodeRun:
    """Return the innermost run that the program is in.

    Raises
    ------
    UserError
        If it is in none.
    """
    if not _active:
        raise UserError('there is no run here: do this within `with lit.run(team="…", description="…"):`')
    return _active[-1]


class CodeRun:
    """A run of the user's own program.

    Attributes
    ----------
    folder : RunFolder
        Its files.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._rows = {int(row["epoch"]): row for row in folder.perf()}

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def epoch(self) -> int:
        """The last epoch that has metrics; 0 if none has."""
        return max(self._rows, default=0)

    def log(self, metrics: Mapping[str, Any] | None = None, *, epoch: int | None = None, **more: Any) -> None:
        """Write metrics into the epoch's row of perf.csv; columns may come at any time.

        Parameters
        ----------
        metrics, **more
            Name → number.
        epoch
            Which row, from 1; unset: a new one.

        Raises
        ------
        UserError
            If a value is no number.
        """
        number = self.epoch + 1 if epoch is None else int(epoch)
        if number < 1:
            raise UserError(f"epoch is {epoch}: epochs count from 1")
        values = {name: _number(name, value) for name, value in {**(metrics or {}), **more}.items()}
        row = self._rows.setdefault(number, {"epoch": float(number)})
        row.update(values)
        perf = [self._rows[key] for key in sorted(self._rows)]
        self.folder.write_perf(perf)
        best = min(perf, key=lambda row: row.get("val_loss", row.get("loss", float("inf"))))
        self.folder.set_session(epoch=self.epoch, best_epoch=int(best["epoch"]))
        self.folder.emit("epoch", **row)

    def describe(self, **values: Any) -> None:
        """Add JSON-able entries to definition.json: parameters, data, whatever tells this run from others."""
        self.folder.write_json("definition.json", self.folder.read_json("definition.json") | values)

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Keep session, log and events until the block ends, one way or another."""
        folder, stopped = self.folder, False
        created = psutil.Process().create_time()
        folder.set_session(status="running", pid=os.getpid(), create_time=created, device="program", error="")
        folder.emit("running", epoch=0)

        def stop(*_: Any) -> None:
            nonlocal stopped
            stopped = True
            raise SystemExit(128 + signal.SIGTERM)

        with ExitStack() as stack:
            log = stack.enter_context((folder.path / "log.txt").open("a", encoding="utf-8", buffering=1))
            if threading.current_thread() is threading.main_thread():
                stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, stop))
            out, err = _Tee(sys.stdout, log), _Tee(sys.stderr, log)
            try:
                with redirect_stdout(out), redirect_stderr(err), out, err:
                    yield
            except BaseException as error:
                if isinstance(error, SystemExit) and not stopped and error.code in (None, 0):
                    self._end("finished")
                elif stopped or isinstance(error, KeyboardInterrupt):
                    self._end("stopped")
                else:
                    folder.log(traceback.format_exc())
                    self._end("failed", f"{type(error).__name__}: {error}")
                raise
            self._end("finished")

    def _end(self, status: str, error: str = "") -> None:
        self.folder.log(f"{status}: {error}" if error else status)
        self.folder.set_session(status=status, error=error)
        self.folder.emit(status, **({"error": error} if error else {}))


class _Tee:
    """Writes to a terminal and to a log, there without what a progress bar wrote over."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log, self._line = terminal, log, ""

    def write(self, text: str) -> int:
        self._terminal.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._log.write(_visible(line) + "\n")
        if len(self._line) > 10_000:
            self._line = _visible(self._line)
        return len(text)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._line:  # a last line without an end
            self._log.write(_visible(self._line) + "\n")
            self._line = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


def _visible(line: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|\x08", "", line)
    return plain.rstrip("\r").rsplit("\r", 1)[-1][-10_000:]


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"metric {name!r} is {value!r}, which is not a number") from error
