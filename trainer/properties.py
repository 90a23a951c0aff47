"""Properties of a component: read from its docstring and signature into a form, and a form's values checked."""

from __future__ import annotations

import ast
import re
from dataclasses import asdict, dataclass
from typing import Any

import docstring_parser

from lit.streams.errors import UserError

_CHOICES = re.compile(r"[\[{](.*)[\]}]")
_KINDS = {
    "int": "int",
    "integer": "int",
    "number": "float",
    "float": "float",
    "bool": "bool",
    "boolean": "bool",
    "str": "text",
    "string": "text",
    "text": "text",
    "list of int": "ints",
    "feature": "feature",
    "label": "label",
    "project": "project",
    "asset": "asset",
}
#: Parameters of `make_component` that the compiler fills in; they are no properties.
GIVEN = ("name", "inputs", "spec")


@dataclass(frozen=True, slots=True)
class Property:
    """One field of a component's form.

    `kind` is int, float, bool, text, ints, choice, or what the form offers a list for: feature, label, project,
    asset. A property without a default must be filled in.
    """

    name: str
    kind: str
    description: str
    choices: tuple[str, ...] = ()
    default: Any = None
    required: bool = False

    def form(self) -> dict[str, Any]:
        """Return the field as JSON-able data for a screen."""
        return asdict(self)

    def value(self, given: Any) -> Any:
        """Return a form's value in the property's own type.

        Raises
        ------
        UserError
            If it is not of that kind; the sentence names the property.
        """
        if given is None or given == "":
            if self.required:
                raise UserError(f"{self.name} is not filled in: {self.description}")
            return self.default
        try:
            return self._converted(given)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name} is {given!r}, which is not {self._expected()}") from error

    def _converted(self, given: Any) -> Any:
        if self.kind == "choice":
            if str(given) not in self.choices:
                raise ValueError(given)
            return str(given)
        if self.kind == "ints":
            items = re.split(r"[,\s]+", given.strip()) if isinstance(given, str) else given
            return tuple(_whole(item) for item in (items if isinstance(items, list | tuple) else [items]))
        if self.kind == "bool":
            if str(given).lower() not in ("true", "false", "1", "0"):
                raise ValueError(given)
            return str(given).lower() in ("true", "1")
        if self.kind == "int":
            return _whole(given)
        if self.kind == "float":
            return float(given)
        return str(given)

    def _expected(self) -> str:
        return {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "ints": "a list of whole numbers, such as 64, 32",
            "choice": f"one of {', '.join(self.choices)}",
        }.get(self.kind, "a text")


def _whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def read_properties(tree: ast.Module) -> tuple[str, tuple[Property, ...]]:
    """Return a component file's summary and properties, without running any of it.

    Raises
    ------
    UserError
        If `make_component` is missing, or a property of its signature is not documented.
    """
    doc = docstring_parser.parse(ast.get_docstring(tree) or "", docstring_parser.DocstringStyle.NUMPYDOC)
    described = {param.arg_name: param for param in doc.params}
    function = next(
        (item for item in tree.body if isinstance(item, ast.FunctionDef) and item.name == "make_component"), None
    )
    if function is None:
        raise UserError("it has no function make_component(name, inputs, …)")
    found = []
    for name, default in _signature(function):
        if name in GIVEN:
            continue
        if name not in described:
            raise UserError(f"the Parameters section of its docstring does not describe {name!r}")
        found.append(_property(name, described[name], default))
    unknown = [name for name in described if name not in {item.name for item in found}]
    if unknown:
        raise UserError(f"its docstring describes {', '.join(unknown)}, which make_component does not take")
    return " ".join(filter(None, (doc.short_description, doc.long_description))), tuple(found)


def _signature(function: ast.FunctionDef) -> list[tuple[str, ast.expr | None]]:
    arguments = [*function.args.posonlyargs, *function.args.args]
    defaults: list[ast.expr | None] = [*function.args.defaults]
    padded = [None] * (len(arguments) - len(defaults)) + defaults
    pairs = list(zip((item.arg for item in arguments), padded, strict=True))
    keyword = zip((item.arg for item in function.args.kwonlyargs), function.args.kw_defaults, strict=True)
    return [*pairs, *keyword]


def _property(name: str, described: Any, default: ast.expr | None) -> Property:
    stated = (described.type_name or "text").strip()
    choices = _CHOICES.search(stated)
    kind = "choice" if choices else _KINDS.get(stated.split(",")[0].strip().lower())
    if kind is None:
        raise UserError(f"property {name} has the type {stated!r}: use one of {', '.join(_KINDS)} or [a, b, c]")
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError as error:
        raise UserError(f"the default of {name} is not a plain value") from error
    return Property(
        name,
        kind,
        " ".join((described.description or "").split()),
        tuple(item.strip().strip("'\"") for item in choices[1].split(",")) if choices else (),
        value,
        default is None,
    )
