"""Source adapters: small Python files that say how rows of a vendor's files become ticks.

An adapter is a team's own file, `{team}/adapters/{name}.py`; a shipped one is copied there on first use and can be
edited from then on. It declares its `COLUMNS` and has one function `read(rows)`; everything else (decompression,
blocks, line numbers, quarantine, splitting by symbol, numbering) is done for it by `lit.streams.ingest`. What it may
define besides is told in docs/adapters.md.
"""

from __future__ import annotations

import ast
import hashlib
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lit.streams.atomic import write_file
from lit.streams.errors import LitError, UserError
from lit.streams.ingest_bytes import COMMA, Dialect
from lit.streams.parameters import Parameter, declared, digest_with, effective, taken_by
from lit.streams.plugin_files import plugin_files
from lit.streams.workspace import Workspace, checked_name

if TYPE_CHECKING:
    import pyarrow as pa

    from lit.streams.ingest_rows import Rows

#: What a column may hold: any text; a decimal number; a whole number; a moment in ISO 8601 with zone, up to ns;
#: a time of day `hh:mm:ss.fff`; a time in whatever form, which `rows.times` reads.
KINDS = ("text", "number", "integer", "instant", "clock", "time")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A loaded source adapter.

    Parameters
    ----------
    name
        Name of the file without `.py`.
    digest
        `sha256:…` of its source and its parameters: what it makes of a file may differ as soon as this does.
    parameters
        The parameters that differ from their defaults.
    columns
        Name of each column that it reads → one of `KINDS`.
    layouts
        A file has to have all columns of at least one of these.
    read
        Turns rows into columns of ticks: `symbol`, `timestamp`, `Price`, `Volume`; if it likes `Seq. No.`, `session`,
        `Qualifiers`, and others under names of its choice.
    dialect
        How text files are tables.
    batches
        Reads files that are no text: yields their columns, rows in the file's order.
    """

    name: str
    path: Path
    digest: str
    columns: Mapping[str, str]
    layouts: Sequence[Sequence[str]]
    read: Callable[[Rows], Mapping[str, Any]]
    parameters: Mapping[str, Any]
    dialect: Dialect = COMMA
    batches: Callable[[Path], Iterable[pa.RecordBatch]] | None = None

    def check_header(self, header: Sequence[str], path: Path) -> None:
        """Raise `UserError` unless the header fits one of the layouts."""
        seen = set(header)
        twice = sorted({name for name in header if name in self.columns and header.count(name) > 1})
        if twice:
            raise UserError(f"{path}: the header names {', '.join(twice)} more than once; keep one of them.")
        missing = min(([name for name in layout if name not in seen] for layout in self.layouts), key=len)
        if missing:
            # of a file that is no table nothing is told: it may hold what its reader must not see
            shown = f"The header is {self.dialect.delimiter.join(header)[:300]!r}; name" if header[1:] else "Name"
            raise UserError(
                f"{path}: adapter {self.name!r} misses the column(s) {', '.join(missing)}. "
                f"{shown} the right adapter, set its parameters, or edit {self.path}."
            )


def shipped_adapters() -> dict[str, Path]:
    """Return name → file of the adapters that come with the installed plugins."""
    return {file.stem: file for file in plugin_files("adapters")}


def shipped_template() -> Path:
    """Return the file that a new adapter begins as."""
    return plugin_files("adapters", "_template.py")[0]


def known_adapters(workspace: Workspace) -> list[str]:
    """Return the names that `load_adapter` finds: the team's and the shipped ones."""
    own = workspace.path("adapters").glob("*.py")
    return sorted({*shipped_adapters(), *(file.stem for file in own if not file.stem.startswith("_"))})


def adapter_for(path: Path) -> str:
    """Return the name of the shipped adapter that a file's name speaks for."""
    name = path.name.lower()
    by_suffix = {".parquet": "parquet", ".pq": "parquet", ".dbn": "databento", ".dbn.zst": "databento"}
    if name.endswith("_trade.zip"):
        return "lean"
    return next((adapter for suffix, adapter in by_suffix.items() if name.endswith(suffix)), "refinitiv")


def missing_adapter(workspace: Workspace, name: str) -> UserError:
    """Return the error that says which adapters there are instead."""
    known = ", ".join(known_adapters(workspace)) or "none"
    return UserError(f"adapter {name!r} does not exist in {workspace.path('adapters')}; known adapters: {known}.")


def adapter_path(workspace: Workspace, name: str) -> Path:
    """Return the team's file of an adapter; a shipped one is copied there first.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    path = workspace.path("adapters", f"{checked_name(name, 'adapter')}.py")
    if not path.is_file():
        shipped = shipped_adapters().get(name)
        if shipped is None:
            raise missing_adapter(workspace, name)
        workspace.folder("adapters")
        write_file(path, shipped.read_bytes())
    return path


def load_adapter(workspace: Workspace, name: str, parameters: Mapping[str, Any] | None = None) -> Adapter:
    """Load a team's adapter with parameters; a shipped one is copied into the team's folder first.

    Raises
    ------
    UserError
        If there is none of this name, its source is at fault (with file and line), or a parameter does not fit.
    """
    path = adapter_path(workspace, name)
    return _from_source(name, path, path.read_bytes(), parameters or {})


def _from_source(name: str, path: Path, source: bytes, given: Mapping[str, Any]) -> Adapter:
    module = ModuleType(f"lit_adapter_{name}")
    module.__file__ = str(path)
    tree = parsed_source(path, source)
    values = effective(declared(tree, f"adapter {path}"), given, name)

    def bound(function: str) -> Any:
        known = getattr(module, function, None)
        own = {key: value for key, value in values.items() if key in taken_by(tree, function)}
        return partial(known, **own) if callable(known) else None

    def result(function: str, constant: str, default: Any) -> Any:
        made = bound(function)
        return made() if made else getattr(module, constant, default)

    try:
        exec(compile(tree, str(path), "exec"), module.__dict__)
        columns, dialect = result("columns", "COLUMNS", None), result("dialect", "DIALECT", COMMA)
    except LitError:
        raise
    except Exception as error:
        raise adapter_error(path, error) from error
    read = bound("read")
    if not isinstance(columns, dict) or read is None or not isinstance(dialect, Dialect):
        raise UserError(f"adapter {path} has to define COLUMNS (a dict) or columns(), and read(rows).")
    layouts = getattr(module, "LAYOUTS", None) or [tuple(columns)]
    wrong = [f"{column}: {kind!r}" for column, kind in columns.items() if kind not in KINDS]
    stray = sorted({column for layout in layouts for column in layout} - set(columns))
    if wrong or stray:
        problem = f"has unknown kinds ({'; '.join(wrong)})" if wrong else f"lacks {', '.join(stray)} of LAYOUTS"
        raise UserError(f"adapter {path}: COLUMNS {problem}; kinds are {', '.join(KINDS)}.")
    digest = _digest(source, values)
    return Adapter(name, path, digest, columns, layouts, read, values, dialect, bound("batches"))


def adapter_digest(workspace: Workspace, name: str, parameters: Mapping[str, Any] | None = None) -> str:
    """Return the digest that `load_adapter` finds, from the source alone: nothing of it is run.

    Raises
    ------
    UserError
        If there is none of this name, its source is at fault, or a parameter does not fit.
    """
    path = adapter_path(workspace, name)
    source = path.read_bytes()
    return _digest(source, effective(declared(parsed_source(path, source), f"adapter {path}"), parameters or {}, name))


def _digest(source: bytes, values: Mapping[str, Any]) -> str:
    return digest_with(f"sha256:{hashlib.sha256(source).hexdigest()}", values)


def declared_parameters(workspace: Workspace, name: str) -> dict[str, Parameter]:
    """Return the parameters of a team's adapter, from its source alone: nothing of it is run.

    Raises
    ------
    UserError
        If there is none of this name, or its source is at fault.
    """
    path = adapter_path(workspace, name)
    return declared(parsed_source(path, path.read_bytes()), f"adapter {path}")


def parsed_source(path: Path, source: bytes) -> ast.Module:
    """Return an adapter's syntax tree, or raise `UserError` with the line."""
    try:
        return ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else f": {error}"
        raise UserError(f"adapter {path}{where}.") from error


def adapter_error(path: Path, error: Exception) -> UserError:
    """Return the sentence for an exception out of an adapter's own code, with its line."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f", line {lines[-1]}" if lines else ""
    return UserError(f"adapter {path}{where}: {type(error).__name__}: {error}")
