"""Model components: Python files whose docstring is a form and whose `make_component` makes Keras layers.

A component file has a numpydoc docstring, `make_component(name, inputs, …properties)` and two optional constants:

`ROLE`
    `"layer"` (default), `"input"`, `"output"`, or `"globals"` and `"settings"`, which have no place in the graph.
`INPUTS`
    Least and most edges that may come in, `(1, 1)` by default; `None` as the most is any number.

Shipped components are copied to the team's folder when it is first looked at; the team edits its copies.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name
from lit.trainer.properties import Property, read_properties

ROLES = ("layer", "input", "output", "globals", "settings")
SHIPPED = Path(__file__).parent / "components"


@dataclass(frozen=True, slots=True)
class Component:
    """A component as read from its source; `error` says why it cannot be used, if so."""

    name: str
    source: str
    summary: str = ""
    role: str = "layer"
    least: int = 1
    most: int | None = 1
    properties: tuple[Property, ...] = ()
    error: str = ""

    def form(self) -> dict[str, Any]:
        """Return what a screen needs to offer the component, JSON-able."""
        return {
            "name": self.name,
            "summary": self.summary,
            "role": self.role,
            "inputs": [self.least, self.most],
            "properties": [item.form() for item in self.properties],
            "error": self.error,
        }

    def values(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return a node's properties in their own types, defaults filled in.

        Raises
        ------
        UserError
            If a value does not fit, is missing, or belongs to no property.
        """
        known = {item.name for item in self.properties}
        if extra := [name for name in given if name not in known]:
            raise UserError(f"{self.name} has no property {extra[0]!r}: it has {', '.join(sorted(known)) or 'none'}")
        return {item.name: item.value(given.get(item.name)) for item in self.properties}

    def make(self) -> Callable[..., Any]:
        """Run the component's source and return its `make_component`.

        Raises
        ------
        UserError
            If the source cannot be run; the sentence has the reason and line.
        """
        if self.error:
            raise UserError(f"component {self.name} cannot be used: {self.error}")
        module = ModuleType(f"lit_component_{self.name.replace(' ', '_')}")
        try:
            exec(compile(self.source, f"{self.name}.py", "exec"), module.__dict__)
        except Exception as error:
            raise UserError(f"component {self.name} does not run: {described(error, self.name)}") from error
        function: Callable[..., Any] = module.__dict__["make_component"]
        return function


def described(error: BaseException, component: str) -> str:
    """Say an exception in one sentence, with the last line of the component's source that it passed through."""
    line, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == f"{component}.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}" + (f" ({component}.py line {line})" if line else "")


def read_component(name: str, source: str) -> Component:
    """Read a component from its source without running it; what is wrong with it goes into `error`."""
    try:
        tree = ast.parse(source)
        summary, properties = read_properties(tree)
        role = _constant(tree, "ROLE", "layer")
        least, most = _constant(tree, "INPUTS", (1, 1) if role in ("layer", "output") else (0, 0))
        if role not in ROLES:
            raise UserError(f"ROLE is {role!r}: use one of {', '.join(ROLES)}")
    except SyntaxError as error:
        return Component(name, source, error=f"line {error.lineno} is not Python: {error.msg}")
    except (TypeError, ValueError) as error:
        return Component(name, source, error=f"INPUTS and ROLE must be plain values ({error})")
    except UserError as error:
        return Component(name, source, error=str(error))
    return Component(name, source, summary, role, least, most, properties)


def shipped_files() -> Iterable[Path]:
    """Yield the files of the components that LIT ships."""
    return sorted(path for path in SHIPPED.glob("*.py") if path.name != "__init__.py")


def load_components(workspace: Workspace) -> dict[str, Component]:
    """Return the team's components by name, after copying the shipped ones that the team does not have yet."""
    folder = workspace.folder("components")
    for path in shipped_files():
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return {
        path.stem: read_component(path.stem, path.read_text("utf-8"))
        for path in sorted(folder.glob("*.py"))
        if path.name != "__init__.py"
    }


def save_component(workspace: Workspace, name: str, source: str) -> Component:
    """Write a component of the team; a broken one is kept too, and says so."""
    component = read_component(name, source)
    path = workspace.folder("components") / f"{checked_name(name, 'component')}.py"
    draft = path.with_suffix(".draft")
    draft.write_text(source, "utf-8")
    draft.replace(path)
    return component


def delete_component(workspace: Workspace, name: str) -> None:
    """Delete a component of the team, if it exists; a shipped one comes back as it was shipped."""
    (workspace.path("components") / f"{checked_name(name, 'component')}.py").unlink(missing_ok=True)


def _constant(tree: ast.Module, name: str, default: Any) -> Any:
    for item in tree.body:
        if isinstance(item, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in item.targets):
            return ast.literal_eval(item.value)
    return default
