"""Source adapters as files of a team: listed, described without running them, made of a template, saved, deleted."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.parameters import Parameter, declared
from lit.streams.sources import known_adapters, missing_adapter, parsed_source, shipped_adapters, shipped_template
from lit.streams.workspace import Workspace, checked_name

#: `shipped`: not copied yet, or equal to what is shipped; `edited`: the team's copy differs; `own`: the team's alone.
Origin = Literal["shipped", "edited", "own"]


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """An adapter as its source tells; `error` says why it cannot be used (its other fields are empty then)."""

    name: str
    origin: Origin
    summary: str
    description: str
    parameters: list[Parameter]
    source: str
    digest: str
    error: str | None = None


def adapter_infos(workspace: Workspace) -> list[AdapterInfo]:
    """Return the adapters that a team can name."""
    return [adapter_info(workspace, name) for name in known_adapters(workspace)]


def adapter_info(workspace: Workspace, name: str) -> AdapterInfo:
    """Return one adapter; nothing of it is run.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    own = workspace.path("adapters", f"{checked_name(name, 'adapter')}.py")
    shipped = shipped_adapters().get(name)
    path = own if own.is_file() else shipped
    if path is None:
        raise missing_adapter(workspace, name)
    source = path.read_bytes()
    origin: Origin = "own" if shipped is None else "shipped" if source == shipped.read_bytes() else "edited"
    text, digest = source.decode(errors="replace"), f"sha256:{hashlib.sha256(source).hexdigest()}"
    try:
        tree = parsed_source(path, source)
        parameters = list(declared(tree, f"adapter {path}").values())
    except UserError as error:
        return AdapterInfo(name, origin, "", "", [], text, digest, str(error))
    doc = ast.get_docstring(tree) or ""
    return AdapterInfo(name, origin, doc.partition("\n")[0], doc, parameters, text, digest)


def save_adapter(workspace: Workspace, name: str, source: str) -> AdapterInfo:
    """Write a team's adapter, after a look at its source.

    Raises
    ------
    UserError
        If it is no Python, has no `read`, or declares a parameter wrongly.
    """
    path = workspace.folder("adapters") / f"{checked_name(name, 'adapter')}.py"
    tree = parsed_source(path, source.encode())
    declared(tree, f"adapter {path}")
    if not any(isinstance(node, ast.FunctionDef) and node.name == "read" for node in tree.body):
        raise UserError(f"adapter {name!r} defines no read(rows): it turns rows of a file into columns of ticks")
    write_file(path, source.encode(), durable=True)
    return adapter_info(workspace, name)


def new_adapter(workspace: Workspace, name: str) -> Path:
    """Write a template as a team's adapter and return the file.

    Raises
    ------
    UserError
        If an adapter of that name exists.
    """
    if checked_name(name, "adapter") in known_adapters(workspace):
        raise UserError(f"adapter {name!r} exists already: choose another name, or edit it")
    save_adapter(workspace, name, shipped_template().read_text("utf-8").replace("NAME", name, 1))
    return workspace.path("adapters", f"{name}.py")


def delete_adapter(workspace: Workspace, name: str) -> None:
    """Delete a team's adapter; where one of that name is shipped, that one holds again.

    Raises
    ------
    UserError
        If the team has no such file.
    """
    path = workspace.path("adapters", f"{checked_name(name, 'adapter')}.py")
    try:
        path.unlink()
    except FileNotFoundError:
        raise UserError(f"team {workspace.team!r} has no adapter {name!r} of its own") from None
