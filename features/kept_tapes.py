"""Tapes of source files, made once and kept, so that trying a feature at any index reads no source file again.

They are kept under `{team}/features/.tapes/`, by what the file and the source adapter are; the oldest give way. Source
files are read in a child process, as their adapters are users' code too.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lit.features import sandbox
from lit.features.tapes import read_tape, tapes_of_files, write_tape
from lit.streams.errors import UserError
from lit.streams.sources import load_adapter
from lit.streams.tick import TickBlock
from lit.streams.workspace import Workspace

#: Bytes of tapes that a team keeps; those of the dataset at hand stay in any case.
KEPT_BYTES = 8 << 30
#: Reading one file may take this long and this much; a file of more ticks than fit is refused.
_SECONDS, _MEMORY = 900.0, 8 << 30
#: Ticks of an excerpt that a feature is judged on: enough for its look-back, few enough for hundreds of futures.
EXCERPT = 20_000


def kept_tapes(
    workspace: Workspace, adapter: str, paths: Sequence[Path], parameters: Mapping[str, Any] | None = None
) -> list[Path]:
    """Return the tapes of a dataset in its order, made now if they are not there.

    Parameters
    ----------
    workspace
        Whose source adapters.
    adapter
        Name of the source adapter.
    paths
        The source files, in the dataset's order.
    parameters
        The source adapter's own.

    Raises
    ------
    UserError
        If a file is missing, not what the adapter reads, or without ticks.
    """
    if not paths:
        raise UserError("the dataset has no file: name files, a schema or a project that has some")
    digest = load_adapter(workspace, adapter, parameters).digest
    root = workspace.root / "features" / ".tapes"
    folders = [root / _key(digest, path) for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        if not folder.exists():
            arguments = {
                "data": str(workspace.data),
                "team": workspace.team,
                "adapter": adapter,
                "path": str(path),
                "folder": str(folder),
                "parameters": dict(parameters or {}),
            }
            sandbox.call("lit.features.kept_tapes:make", arguments, seconds=_SECONDS, memory=_MEMORY, written=_MEMORY)
    _let_go(root, set(folders))
    return [tape for folder in folders for tape in sorted(folder.glob("*.arrow"), key=lambda one: int(one.stem))]


def make(data: str, team: str, adapter: str, path: str, folder: str, parameters: dict[str, Any]) -> None:
    """Write the tapes of one source file. For `sandbox.call`."""
    final = Path(folder)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{final.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    tapes_of_files(Workspace(Path(data), team), adapter, [Path(path)], draft, parameters)
    if not final.exists():
        draft.rename(final)


def count_ticks(tapes: Sequence[Path]) -> int:
    """Return the length of the dataset that tapes make."""
    return sum(len(read_tape(tape)) for tape in tapes)


def excerpts(tapes: Sequence[Path], folder: Path, count: int = 2, seed: int = 0) -> list[Path]:
    """Write stretches of a dataset's tapes to judge features on.

    Parameters
    ----------
    tapes
        The dataset.
    folder
        Where the excerpts go.
    count
        How many at the most, of different tapes as far as there are.
    seed
        Decides where.
    """
    chosen = np.random.default_rng(seed).permutation(len(tapes))[:count].tolist()
    return write_excerpts((read_tape(tapes[number]) for number in chosen), folder, seed)


def write_excerpts(blocks: Iterable[TickBlock], folder: Path, seed: int = 0) -> list[Path]:
    """Write a stretch of each block as a tape."""
    rng = np.random.default_rng(seed)
    made: list[Path] = []
    for block in blocks:
        first = int(rng.integers(0, max(len(block) - EXCERPT, 0) + 1))
        made.append(folder / f"excerpt{len(made)}.arrow")
        write_tape(made[-1], TickBlock(block.symbol, 0, block.slice(first, first + EXCERPT).batch))
    return made


def _key(adapter_digest: str, path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        raise UserError(f"source file {path} does not exist: upload it, or correct its name") from None
    text = f"{adapter_digest}|{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _let_go(root: Path, needed: set[Path]) -> None:
    """Delete the tapes made first, as long as all together are too many; one being read stays readable (mapped)."""
    folders = [folder for folder in root.iterdir() if not folder.name.startswith(".")]
    sizes = {folder: sum(file.stat().st_size for file in folder.glob("*.arrow")) for folder in folders}
    total = sum(sizes.values())
    for folder in sorted(folders, key=lambda one: one.stat().st_mtime):
        if total <= KEPT_BYTES:
            return
        if folder not in needed:
            total -= sizes[folder]
            shutil.rmtree(folder, ignore_errors=True)
