"""Audits that the server makes when one is asked for and not there: one at a time, each in a process of its own.

A file that crashes the HDF5 library, or a large one, then costs a child and not the server.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

from lit.api.bound import bound_argv
from lit.streams.errors import FaultError
from lit.streams.workspace import Workspace
from lit.trainer.asset_folder import Where
from lit.trainer.audit import Audit
from lit.trainer.audit_file import kept_audit

_LINE = re.compile(r"audit: (.*), (\d+) of (\d+) features")


@dataclass
class AuditJob:
    """An audit on its way: how many features of how many are done; `error` when it failed."""

    done: int = 0
    total: int = 0
    what: str = "waiting"
    error: str = ""
    ended: bool = False


class AssetAudits:
    """The audits of one server."""

    def __init__(self) -> None:
        self._jobs: dict[Path, AuditJob] = {}
        self._lock = Lock()
        self._turn = Lock()

    def find(self, workspace: Workspace, schema: str, where: Where, folder: Path) -> Audit | AuditJob:
        """Return the audit of the parts in a folder, or how far it is; begins it if nobody has.

        Raises
        ------
        FaultError
            If it failed; the next call begins it again.
        """
        found = kept_audit(folder)
        if found is not None:
            return found
        with self._lock:
            job = self._jobs.get(folder)
            if job is None or (job.ended and not job.error):
                job = self._jobs[folder] = AuditJob()
                options = ["--queue"] if where == "queue" else []
                arguments = (str(workspace.data), "assets", "audit", schema, "--team", workspace.team, *options)
                # a thread for each: a child dies with the thread that started it
                Thread(target=self._run, args=(job, *arguments), daemon=True).start()
            elif job.ended:
                del self._jobs[folder]
                raise FaultError(job.error)
            return job

    def _run(self, job: AuditJob, data: str, *arguments: str) -> None:
        with self._turn:
            said = ""
            try:
                process = subprocess.Popen(
                    bound_argv((sys.executable, "-m", "lit.cli", *arguments, "--json")),
                    env={**os.environ, "LIT_DATA": data},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for line in process.stderr or ():
                    if match := _LINE.match(line):
                        job.what, job.done, job.total = match[1], int(match[2]), int(match[3])
                    else:
                        said = line.strip() or said
                if process.wait():
                    job.error = said.removeprefix("lit: ") or f"the audit's process ended with {process.returncode}"
            except OSError as error:
                job.error = f"the audit's process could not be started: {error}"
            finally:
                job.ended = True
