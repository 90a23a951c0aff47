"""Parameters of source adapters: the keyword-only arguments of an adapter's functions, read from its source.

`def read(rows, *, time_zone="UTC")` declares a text parameter `time_zone`. Nothing of the adapter is run for that, so a
form can be shown for a file that nobody has looked through yet.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lit.streams.errors import UserError

#: Functions of an adapter that may take parameters.
FUNCTIONS = ("read", "columns", "dialect", "batches")
_KINDS = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "list",
    "tuple": "list",
    "dict": "table",
}
_EXAMPLES = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": 'a list of texts such as ["a", "b"]',
    "table": 'an object such as {"name": "text"}',
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an adapter; `kind` is text, integer, number, boolean, list (of texts) or table (of texts)."""

    name: str
    kind: str
    default: Any
    help: str = ""

    def checked(self, value: Any) -> Any:
        """Return a value in this parameter's type, or raise `UserError`."""
        fits: dict[str, bool] = {
            "text": isinstance(value, str),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, int | float) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            "list": isinstance(value, list | tuple) and all(isinstance(item, str) for item in value),
            "table": isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values()),
        }
        if not fits[self.kind]:
            raise UserError(f"parameter {self.name!r} is {value!r}: give {_EXAMPLES[self.kind]}")
        return list(value) if self.kind == "list" else dict(value) if self.kind == "table" else value

    def parsed(self, text: str) -> Any:
        """Read a value from a command line: texts as they are, lists also as `a,b`, all others as JSON."""
        if self.kind == "text":
            return text
        if self.kind == "list" and not text.lstrip().startswith("["):
            return [item.strip() for item in text.split(",") if item.strip()]
        try:
            return self.checked(json.loads(text))
        except ValueError:
            raise UserError(f"parameter {self.name!r} is {text!r}: give {_EXAMPLES[self.kind]}") from None


def declared(tree: ast.Module, where: str) -> dict[str, Parameter]:
    """Return the parameters that an adapter's functions declare, in order of appearance.

    Raises
    ------
    UserError
        If a default is missing or no plain value, or two functions disagree about one.
    """
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    texts = _texts([ast.get_docstring(tree), *map(ast.get_docstring, functions)])
    found: dict[str, Parameter] = {}
    for function in functions:
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
            place = f"{where}, line {argument.lineno}: parameter {argument.arg!r}"
            if default is None:
                raise UserError(f"{place} has no default; give it one")
            try:
                value = ast.literal_eval(default)
            except ValueError:
                value = None
            kind = _KINDS.get(type(value).__name__)
            if kind is None:
                raise UserError(f"{place} needs a plain default: a text, number, True or False, list or dict")
            parameter = Parameter(argument.arg, kind, _plain(value), texts.get(argument.arg, ""))
            if found.setdefault(argument.arg, parameter) != parameter:
                raise UserError(f"{place} has another default than in another function; make them the same")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def taken_by(tree: ast.Module, function: str) -> tuple[str, ...]:
    """Return the names of the parameters that one function takes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return tuple(argument.arg for argument in node.args.kwonlyargs)
    return ()


def _texts(docstrings: Sequence[str | None]) -> dict[str, str]:
    """Return what numpydoc `Parameters` sections say of each name."""
    import docstring_parser

    texts: dict[str, str] = {}
    for docstring in docstrings:
        parsed = docstring_parser.parse(docstring or "", docstring_parser.DocstringStyle.NUMPYDOC)
        for entry in parsed.params:
            for name in entry.arg_name.split(","):
                texts[name.strip()] = " ".join((entry.description or "").split())
    return texts


def effective(parameters: Mapping[str, Parameter], given: Mapping[str, Any], adapter: str) -> dict[str, Any]:
    """Return the values that differ from the defaults, checked and in the order of the declaration.

    Raises
    ------
    UserError
        If a name is unknown or a value does not fit.
    """
    for name in given:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise UserError(f"parameter {name!r} is not known to adapter {adapter!r}: it takes {known}")
    checked = {name: parameters[name].checked(given[name]) for name in parameters if name in given}
    return {name: value for name, value in checked.items() if value != parameters[name].default}


def digest_with(source_digest: str, values: Mapping[str, Any]) -> str:
    """Return a digest over an adapter's source and its effective parameters; that of the source if there are none."""
    if not values:
        return source_digest
    text = f"{source_digest} {json.dumps(values, sort_keys=True, ensure_ascii=False)}"
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
