"""Stream adapters: small Python files that say how to connect to a live feed and what its messages are as ticks.

An adapter is a team's own file, `{team}/adapters/streams/{name}.py`; a shipped one is copied there on first use and can
be edited from then on. Its docstring is its form (`lit.streams.form`); an input has an async generator
`stream(feed)` (the contract is `lit.plugins.traders.stream`), an output names the `SERVER` that it is.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.form import Form, read_form
from lit.streams.plugin_files import plugin_files
from lit.streams.sequence import Numbering
from lit.streams.sources import adapter_error
from lit.streams.workspace import Workspace, checked_name

#: Types of an adapter's own columns, by the word that its `COLUMNS` uses.
COLUMN_KINDS = ("text", "number", "integer")


@dataclass(frozen=True, slots=True)
class StreamAdapter:
    """A loaded stream adapter.

    Parameters
    ----------
    name, path, digest
        The file without `.py`, where it is, and `sha256:…` of its source.
    form
        Its parameters.
    stream
        The async generator of an input; None for an output.
    server
        `module:function` that makes an output's web application; None for an input.
    sequence
        How the provider numbers its ticks.
    numbering
        Tells that by the parameters; None: it is always the same.
    heartbeat
        Seconds of silence after which a connection counts as lost; None: silence is normal.
    grace
        Seconds that a tick may be under way before its bar is closed by the clock.
    clock
        `arrival`: bars of a quiet market are closed by the time that passes; `adapter`: by its own watermarks alone.
    live
        Parameters whose change needs no reconnect: the adapter looks at `feed.parameters` as it goes.
    columns
        Own columns of its ticks → one of `COLUMN_KINDS`.
    resumes
        Whether a new connection goes on where the last one ended, by `feed.position`: a reconnect is no gap then.
    exchange
        Calendar that says whether a tick lies in regular hours; None: the adapter says so itself, or never.
    negative_prices
        Whether a price may be zero or below (spreads).
    """

    name: str
    path: Path
    digest: str
    form: Form
    stream: Callable[[Any], AsyncIterator[Any]] | None
    server: str | None = None
    sequence: Numbering = "none"
    numbering: Callable[[Mapping[str, Any]], Numbering] | None = None
    heartbeat: float | None = None
    grace: float = 1.0
    clock: str = "arrival"
    live: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    resumes: bool = False
    exchange: str | None = None
    negative_prices: bool = False

    def with_parameters(self, parameters: Mapping[str, Any]) -> StreamAdapter:
        """Return the adapter as a stream's parameters `numbering`, `heartbeat` and `grace` want it, if it has them."""
        given = {"sequence": "numbering", "heartbeat": "heartbeat", "grace": "grace"}
        found = {name: parameters[key] for name, key in given.items() if parameters.get(key) is not None}
        if self.numbering and "sequence" not in found:
            found["sequence"] = self.numbering(parameters)
        return replace(self, **found)

    @property
    def kind(self) -> str:
        """`input` or `output`."""
        return "input" if self.server is None else "output"


def shipped_stream_adapters() -> dict[str, Path]:
    """Return name → file of the stream adapters that come with the installed plugins."""
    return {file.stem: file for file in plugin_files("streams")}


def known_stream_adapters(workspace: Workspace) -> list[str]:
    """Return the names that `load_stream_adapter` finds: the team's and the shipped ones."""
    own = workspace.path("adapters", "streams").glob("*.py")
    return sorted({*shipped_stream_adapters(), *(file.stem for file in own if not file.stem.startswith("_"))})


def stream_adapter_path(workspace: Workspace, name: str) -> Path:
    """Return the team's file of an adapter, copying a shipped one there first.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    path = workspace.path("adapters", "streams", f"{checked_name(name, 'adapter')}.py")
    if not path.is_file():
        shipped = shipped_stream_adapters().get(name)
        if shipped is None:
            known = ", ".join(known_stream_adapters(workspace)) or "none"
            raise UserError(f"stream adapter {name!r} does not exist in {path.parent}; known ones: {known}.")
        workspace.folder("adapters", "streams")
        write_file(path, shipped.read_bytes())
    return path


def read_stream_form(workspace: Workspace, name: str) -> Form:
    """Return an adapter's form without running any of its code.

    Raises
    ------
    UserError
        If there is no such adapter, or its docstring is no form.
    """
    own = workspace.path("adapters", "streams", f"{checked_name(name, 'adapter')}.py")
    path = own if own.is_file() else shipped_stream_adapters().get(name) or stream_adapter_path(workspace, name)
    return _form(path, _tree(path, path.read_bytes()))


def adapter_kind(workspace: Workspace, name: str) -> str:
    """Return `input` or `output` without running the adapter's code; what cannot be read counts as an input."""
    try:
        own = workspace.path("adapters", "streams", f"{checked_name(name, 'adapter')}.py")
        path = own if own.is_file() else shipped_stream_adapters()[name]
        return _kind(path, path.stat().st_mtime_ns)
    except (UserError, KeyError, OSError):
        return "input"


@lru_cache(maxsize=256)
def _kind(path: Path, _stamp: int) -> str:
    """Return the kind of an adapter's source as of some change of it: it is asked for again and again."""
    tree = _tree(path, path.read_bytes())
    targets = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return "output" if any(isinstance(target, ast.Name) and target.id == "SERVER" for target in targets) else "input"


def load_stream_adapter(workspace: Workspace, name: str) -> StreamAdapter:
    """Load a team's stream adapter; a shipped one is copied into the team's folder first.

    Raises
    ------
    UserError
        If there is none of this name, or its source is at fault (with file and line).
    """
    path = stream_adapter_path(workspace, name)
    source = path.read_bytes()
    form = _form(path, _tree(path, source))
    module = ModuleType(f"lit_stream_{name}")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise adapter_error(path, error) from error
    stream, server = getattr(module, "stream", None), getattr(module, "SERVER", None)
    if server is None and not inspect.isasyncgenfunction(stream):
        raise UserError(f"stream adapter {path} has to define an async generator stream(feed): async def with yield.")
    sequence: Any = getattr(module, "SEQUENCE", "none")
    if not callable(sequence) and sequence not in (known := get_args(Numbering)):
        raise UserError(f"stream adapter {path}: SEQUENCE is {sequence!r}, use one of {', '.join(known)}.")
    columns = getattr(module, "COLUMNS", {})
    if wrong := [name for name, kind in columns.items() if kind not in COLUMN_KINDS]:
        raise UserError(f"stream adapter {path}: COLUMNS has unknown kinds of {', '.join(wrong)}; use {COLUMN_KINDS}.")
    return StreamAdapter(
        name,
        path,
        f"sha256:{hashlib.sha256(source).hexdigest()}",
        form,
        stream if server is None else None,
        server,
        "none" if callable(sequence) else sequence,
        sequence if callable(sequence) else None,
        getattr(module, "HEARTBEAT", None),
        float(getattr(module, "GRACE", 1.0)),
        getattr(module, "CLOCK", "arrival"),
        tuple(getattr(module, "LIVE", ())),
        tuple(columns.items()),
        bool(getattr(module, "RESUMES", False)),
        getattr(module, "EXCHANGE", None),
        bool(getattr(module, "NEGATIVE_PRICES", False)),
    )


def _tree(path: Path, source: bytes) -> ast.Module:
    try:
        return ast.parse(source, str(path))
    except SyntaxError as error:
        raise UserError(f"stream adapter {path}, line {error.lineno}: {error.msg}.") from error


def _form(path: Path, tree: ast.Module) -> Form:
    try:
        return read_form(ast.get_docstring(tree) or "")
    except UserError as error:
        raise UserError(f"stream adapter {path}, docstring: {error}") from None
