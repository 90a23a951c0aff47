"""What a program of the user's was when it ran: its source, arguments, git commit, packages, machine."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from lit.trainer.vault import file_digest

#: Uncommitted changes beyond this size are named in the record and not kept.
PATCH_BYTES = 5 * 1024 * 1024
_GIT_SECONDS = 5.0


def main_script() -> Path | None:
    """Return the file that Python was started with; None in a notebook or at a prompt."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    path = Path(file).resolve() if file else None
    return path if path and path.is_file() else None


def describe(script: Path | None) -> dict[str, Any]:
    """Return what is known of the running program, JSON-able."""
    return {
        "script": str(script) if script else "",
        "digest": file_digest(script) if script else "",
        "arguments": sys.argv[1:],
        "folder": str(Path.cwd()),
        "git": git_state(script.parent if script else Path.cwd()),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "packages": packages(),
    }


def keep_source(script: Path | None, folder: Path) -> None:
    """Copy the program, and what its git repository has uncommitted, into a folder."""
    if not script:
        return
    folder.mkdir()
    shutil.copyfile(script, folder / script.name)
    patch = _git(script.parent, "diff", "HEAD", "--binary")
    if patch and len(patch) <= PATCH_BYTES:
        (folder / "uncommitted.patch").write_bytes(patch)


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit, branch and whether tracked files differ from the commit; empty outside of a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD") or b""
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit.decode().strip(), "branch": branch.decode().strip(), "changed": bool(changed)}


def packages() -> dict[str, str]:
    """Return name → version of the installed distributions."""
    found = {item.metadata["Name"]: item.version for item in metadata.distributions() if item.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def _git(folder: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
