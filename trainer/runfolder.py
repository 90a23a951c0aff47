"""The folder of a run, `{team}/train/{project}/{run}/`: what is in it, how it is written so that a crash tears nothing.

Beside the files that users read there is `.state/` with the machinery's own: the checkpoint and the event log.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit.streams.errors import UserError
from lit.streams.records import Event, encode_json
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace, checked_name
from lit.trainer.processfolder import ProcessFolder


@dataclass(frozen=True)
class RunFolder(ProcessFolder):
    """One run: its workspace, project and number; `announce` is told each event that this object emits."""

    workspace: Workspace
    project: str
    run: int
    announce: Callable[[Event], None] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def create(cls, workspace: Workspace, project: str, definition: dict[str, Any], description: str = "") -> RunFolder:
        """Make the folder of a new run under the project's next number and write what defines it."""
        parent = workspace.folder("train", checked_name(project, "project"))
        run = max((int(path.name) for path in parent.iterdir() if path.name.isdigit()), default=0)
        while True:
            run += 1
            try:
                (parent / str(run)).mkdir()
                break
            except FileExistsError:
                continue
        folder = cls(workspace, project, run)
        folder.models.mkdir()
        folder.state.mkdir()
        folder.write_json("definition.json", {**definition, "created": iso_ms(time.time_ns())})
        folder.write("description.txt", description.rstrip() + "\n")
        folder.write("log.txt", "")
        folder.set_session(status="queued", requested=time.time())
        return folder

    @classmethod
    def find(cls, workspace: Workspace, project: str, run: int) -> RunFolder:
        """Return an existing run, or raise `UserError`."""
        folder = cls(workspace, checked_name(project, "project"), int(run))
        if not (folder.path / "definition.json").is_file():
            known = ", ".join(str(item.run) for item in runs(workspace, project))
            raise UserError(f"run {run} of project {project!r} does not exist: there are {known or 'none'}")
        return folder

    @property
    def path(self) -> Path:
        """The folder."""
        return self.workspace.path("train", self.project) / str(self.run)

    @property
    def name(self) -> str:
        """How events name the run."""
        return f"{self.project}/{self.run}"

    @property
    def is_program(self) -> bool:
        """Whether a program of the user's own does the training (`lit.run`), and no canvas."""
        return bool(self.read_json("definition.json").get("kind") == "code")

    @property
    def models(self) -> Path:
        """Where models are."""
        return self.path / "saved_models"

    @property
    def state(self) -> Path:
        """The machinery's own files."""
        return self.path / ".state"

    def model(self, epoch: int, suffix: str = "h5") -> Path:
        """Where the model of an epoch is."""
        return self.models / f"model.{epoch}.{suffix}"

    def model_epochs(self) -> list[int]:
        """Return the epochs whose models are still there."""
        names = (path.name.split(".") for path in self.models.glob("model.*.h5"))
        return sorted(int(parts[1]) for parts in names if parts[1].isdigit())

    @property
    def description(self) -> str:
        """What is tried, as its starter said it."""
        path = self.path / "description.txt"
        return path.read_text("utf-8").rstrip() if path.is_file() else ""

    def perf(self) -> list[dict[str, float]]:
        """Return perf.csv, a dict a row."""
        path = self.path / "perf.csv"
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                {key: float(value) for key, value in row.items() if value not in (None, "")}
                for row in csv.DictReader(stream)
            ]

    def write_perf(self, rows: Iterable[dict[str, float]]) -> None:
        """Write perf.csv as a whole: a row an epoch, all columns that any row has."""
        rows = list(rows)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns)]
        lines += [",".join(_number(row[key]) if key in row else "" for key in columns) for row in rows]
        self.write("perf.csv", "\n".join(lines) + "\n" if rows else "")

    def emit(self, status: str, **detail: Any) -> Event:
        """Append an event to the run's event log and return it."""
        event = Event("run", self.name, status, iso_ms(time.time_ns()), detail)
        with (self.state / "events.jsonl").open("ab") as stream:
            stream.write(encode_json(event) + b"\n")
        if self.announce:
            self.announce(event)
        return event


def save_model(model: Any, folder: RunFolder, epoch: int) -> None:
    """Save an epoch's model without its optimizer, in Keras' own format and, last, as the `.h5` that counts."""
    for suffix in ("keras", "h5"):
        path = folder.model(epoch, suffix)
        draft = path.with_name(f".draft.{path.name}")
        model.save(draft, **({} if suffix == "keras" else {"include_optimizer": False}))
        draft.replace(path)


def runs(workspace: Workspace, project: str | None = None) -> list[RunFolder]:
    """List runs of a project, or of all, oldest first."""
    root = workspace.path("train")
    projects = [project] if project else sorted(path.name for path in root.glob("*") if path.is_dir())
    return [
        RunFolder(workspace, name, int(path.name))
        for name in projects
        for path in sorted(workspace.path("train", name).glob("*"), key=lambda path: (len(path.name), path.name))
        if path.name.isdigit()
    ]


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
