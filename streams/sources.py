"""Source adapters: small Python files that say how rows of a vendor's CSV become ticks.

An adapter is a team's own file, `{team}/adapters/{name}.py`; a shipped one is copied there on first use and can be
edited from then on. It declares `COLUMNS` and `LAYOUTS` and has one function `read(rows)`; everything else (gzip,
blocks, line numbers, quarantine, splitting by symbol, numbering) is done for it by `lit.streams.ingest`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name

if TYPE_CHECKING:
    from lit.streams.ingest_rows import Rows

#: What a column may hold: any text; a decimal number; a whole number; a moment in ISO 8601 with zone, up to ns;
#: a time of day `hh:mm:ss.fff`.
KINDS = ("text", "number", "integer", "instant", "clock")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded source adapter.

    Parameters
    ----------
    name
        Name of the file without `.py`.
    digest
        `sha256:…` of its source: what it makes of a file may differ as soon as this does.
    columns
        Name of each column that it reads → one of `KINDS`.
    layouts
        A file has to have all columns of at least one of these.
    read
        Turns rows into columns of ticks: `symbol`, `timestamp`, `Price`, `Volume`; if it likes `Seq. No.`, `session`,
        `Qualifiers`, and others under names of its choice.
    """

    name: str
    path: Path
    digest: str
    columns: Mapping[str, str]
    layouts: Sequence[Sequence[str]]
    read: Callable[[Rows], Mapping[str, Any]]

    def check_header(self, header: Sequence[str], path: Path) -> None:
        """Raise `UserError` unless the header fits one of the layouts."""
        seen = set(header)
        twice = sorted({name for name in header if name in self.columns and header.count(name) > 1})
        if twice:
            raise UserError(f"{path}: the header names {', '.join(twice)} more than once; keep one of them.")
        missing = min(([name for name in layout if name not in seen] for layout in self.layouts), key=len)
        if missing:
            shown = ",".join(header)
            raise UserError(
                f"{path}: adapter {self.name!r} misses the column(s) {', '.join(missing)}. "
                f"The header is {shown[:300]!r}; name the right adapter, or edit {self.path}."
            )


def shipped_adapters() -> dict[str, Path]:
    """Return name → file of the adapters that come with the installed plugins."""
    spec = importlib.util.find_spec("lit.plugins")
    roots = (spec.submodule_search_locations or []) if spec else []
    files = (file for root in roots for file in Path(root).glob("*/adapters/*.py"))
    return {file.stem: file for file in sorted(files) if not file.stem.startswith("_")}


def known_adapters(workspace: Workspace) -> list[str]:
    """Return the names that `load_adapter` finds: the team's and the shipped ones."""
    own = workspace.path("adapters").glob("*.py")
    return sorted({*shipped_adapters(), *(file.stem for file in own if not file.stem.startswith("_"))})


def load_adapter(workspace: Workspace, name: str) -> Adapter:
    """Load a team's adapter; a shipped one is copied into the team's folder first.

    Raises
    ------
    UserError
        If there is none of this name, or its source is at fault (with file and line).
    """
    path = workspace.path("adapters", f"{checked_name(name, 'adapter')}.py")
    if not path.is_file():
        shipped = shipped_adapters().get(name)
        if shipped is None:
            known = ", ".join(known_adapters(workspace)) or "none"
            raise UserError(f"adapter {name!r} does not exist in {path.parent}; known adapters: {known}.")
        workspace.folder("adapters")
        fresh = path.with_name(f".{name}.new")
        fresh.write_bytes(shipped.read_bytes())
        fresh.replace(path)
    return _from_source(name, path, path.read_bytes())


def _from_source(name: str, path: Path, source: bytes) -> Adapter:
    module = ModuleType(f"lit_adapter_{name}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except SyntaxError as error:
        raise UserError(f"adapter {path}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        raise adapter_error(path, error) from error
    columns, layouts = getattr(module, "COLUMNS", None), getattr(module, "LAYOUTS", None)
    read = getattr(module, "read", None)
    if not isinstance(columns, dict) or not layouts or not callable(read):
        raise UserError(f"adapter {path} has to define COLUMNS (a dict), LAYOUTS (a list) and read(rows).")
    wrong = [f"{column}: {kind!r}" for column, kind in columns.items() if kind not in KINDS]
    stray = sorted({column for layout in layouts for column in layout} - set(columns))
    if wrong or stray:
        problem = f"has unknown kinds ({'; '.join(wrong)})" if wrong else f"lacks {', '.join(stray)} of LAYOUTS"
        raise UserError(f"adapter {path}: COLUMNS {problem}; kinds are {', '.join(KINDS)}.")
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    return Adapter(name, path, digest, columns, layouts, read)


def adapter_error(path: Path, error: Exception) -> UserError:
    """Return the sentence for an exception out of an adapter's own code, with its line."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f", line {lines[-1]}" if lines else ""
    return UserError(f"adapter {path}{where}: {type(error).__name__}: {error}")
