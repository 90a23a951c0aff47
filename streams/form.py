"""The parameters of a stream adapter, read from its docstring: what a form asks for and what a stream file may hold.

Notation (numpydoc)::

    Parameters
    ----------
    url : text
        Address of the feed.
    token : secret, optional
        What it lets you in by.
    symbols : texts, default BTC/USDT, ETH/USDT
    port : integer >= 1, default 443
    mode : [trades, quotes], default trades

Types: `text`, `texts` (a list), `secret` and `secrets` (never shown, never logged; `env:NAME` is taken from the
environment), `mapping` (names to texts), `number`, `integer`, `boolean`, or a list of choices.
What is neither `optional` nor has a default must be given.
"""

from __future__ import annotations

import inspect
import math
import operator
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lit.streams.errors import UserError

KINDS = ("text", "texts", "secret", "secrets", "mapping", "number", "integer", "boolean")
#: Stands for a secret wherever it would be shown; sent back, it means "leave it as it is".
HIDDEN = "••••••"
_SECTION = re.compile(r"^Parameters\n-{3,}\n(.*?)(?=^[A-Z][A-Za-z ]*\n-{3,}$|\Z)", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"(\w+)\s*:\s*(.+)")
_HEAD = re.compile(r"(\[[^\]]*\]|\w+)(.*)", re.DOTALL)
_BOUND = re.compile(r"\s*,?\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")
_DEFAULT = re.compile(r"default\s+(.*)", re.DOTALL)
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter; `bounds` are (sign, number). Required: neither optional nor with a default."""

    name: str
    kind: str
    help: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[tuple[str, float], ...] = ()
    default: Any = None
    required: bool = False

    @property
    def secret(self) -> bool:
        """Whether its values are hidden."""
        return self.kind in ("secret", "secrets")

    def check(self, value: Any) -> Any:
        """Return the value in the type of this field.

        Raises
        ------
        UserError
            If it does not fit; a secret's value is not told.
        """
        match self.kind:
            case "number" | "integer":
                return self._number(value)
            case "boolean":
                if str(value).lower() not in ("true", "false"):
                    raise UserError(f"{self.name} is {value!r}: give true or false")
                return str(value).lower() == "true"
            case "texts" | "secrets":
                found = re.split(r"\s*,\s*", value.strip()) if isinstance(value, str) else value
                if not isinstance(found, list | tuple) or not all(isinstance(item, str) for item in found):
                    raise UserError(f"{self.name} is {HIDDEN if self.secret else repr(value)}: give a list of texts")
                return [item for item in found if item]
            case "mapping":
                if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
                    raise UserError(f"{self.name} is {value!r}: give names and texts, as in {{'Price': 'data.p'}}")
                return dict(value)
        if not isinstance(value, str) or not value:
            raise UserError(f"{self.name} is {HIDDEN if self.secret else repr(value)}: give a text")
        if self.kind == "choice" and value not in self.choices:
            raise UserError(f"{self.name} is {value!r}: choose one of {', '.join(self.choices)}")
        return value

    def _number(self, value: Any) -> float | int:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (self.kind == "integer" and not number.is_integer()):
            raise UserError(f"{self.name} is {value!r}: give a {'whole ' if self.kind == 'integer' else ''}number")
        for sign, limit in self.bounds:
            if not _COMPARE[sign](number, limit):
                raise UserError(f"{self.name} is {value!r}: give a number {sign} {limit:g}")
        return int(number) if number.is_integer() else number

    def json(self) -> dict[str, Any]:
        """Return the field as plain JSON types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "help": self.help,
            "choices": list(self.choices),
            "bounds": [f"{sign} {limit:g}" for sign, limit in self.bounds],
            "default": self.default,
            "required": self.required,
        }


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a stream adapter, in the order of its docstring."""

    summary: str
    fields: tuple[Field, ...]

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all parameters, checked, defaults filled in; None where an optional one is missing.

        Raises
        ------
        UserError
            If one is unknown, missing or does not fit.
        """
        known = {field.name: field for field in self.fields}
        for name in given:
            if name not in known:
                raise UserError(f"parameter {name!r} is unknown (known: {', '.join(known) or 'none'})")
        checked = {}
        for name, field in known.items():
            value = given.get(name)
            if left_out(value):
                if field.required:
                    raise UserError(f"parameter {name!r} is missing: {field.help or 'give it'}")
                checked[name] = field.default
            else:
                checked[name] = field.check(value)
        return checked

    def opened(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return `check(given)` with secrets that are `env:NAME` read from the environment.

        Raises
        ------
        UserError
            If there is no such variable.
        """
        checked = self.check(given)
        for name in self.secrets:
            value = checked[name]
            checked[name] = [_opened(name, item) for item in value] if isinstance(value, list) else _opened(name, value)
        return checked

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the secret parameters."""
        return tuple(field.name for field in self.fields if field.secret)

    def secret_values(self, opened: Mapping[str, Any]) -> list[str]:
        """Return the texts that no log may hold."""
        found = [opened.get(name) for name in self.secrets]
        return [text for value in found for text in (value if isinstance(value, list) else [value]) if text]

    def hidden(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters as they may be shown; a reference to the environment is no secret."""
        return {name: _hidden(value) if name in self.secrets else value for name, value in given.items()}

    def unhidden(self, given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """Return parameters that come back from a form: a hidden secret is what it was."""
        return {
            name: _unhidden(value, before.get(name)) if name in self.secrets else value for name, value in given.items()
        }


def left_out(value: Any) -> bool:
    """Whether a value says that a parameter is not given."""
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)


def _opened(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("env:"):
        return value
    variable = value.removeprefix("env:")
    if not os.environ.get(variable):
        raise UserError(f"parameter {name!r}: the environment has no variable {variable}")
    return os.environ[variable]


def _hidden(value: Any) -> Any:
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return HIDDEN if value and not str(value).startswith("env:") else value


def _unhidden(value: Any, before: Any) -> Any:
    if isinstance(value, list):
        old = before if isinstance(before, list) else []
        return [_unhidden(item, old[place] if place < len(old) else None) for place, item in enumerate(value)]
    return before if value == HIDDEN else value


def read_form(docstring: str) -> Form:
    """Read an adapter's docstring.

    Raises
    ------
    UserError
        If a parameter does not follow the notation.
    """
    text = inspect.cleandoc(docstring)
    summary = " ".join(text.partition("\n\n")[0].split())
    section = _SECTION.search(text)
    fields: list[Field] = []
    for line in section[1].splitlines() if section else ():
        if entry := _ENTRY.fullmatch(line):
            fields.append(_field(entry[1], entry[2].strip()))
        elif line.strip() and fields and line.startswith(" "):
            fields[-1] = replace(fields[-1], help=f"{fields[-1].help} {line.strip()}".strip())
        elif line.strip():
            raise UserError(f"{line.strip()!r} in Parameters is no parameter: write 'name : type' and indent its help")
    return Form(summary, tuple(fields))


def _field(name: str, notation: str) -> Field:
    head = _HEAD.match(notation)
    if not head:
        raise UserError(f"parameter {name!r} has no type: write 'name : type', types are {', '.join(KINDS)}")
    kind, rest = head[1], head[2]
    choices: tuple[str, ...] = ()
    if kind.startswith("["):
        choices = tuple(part.strip() for part in kind[1:-1].split(","))
        kind = "choice"
    elif kind not in KINDS:
        raise UserError(f"parameter {name!r} has the unknown type {kind!r}: use one of {', '.join(KINDS)} or [a, b]")
    bounds: list[tuple[str, float]] = []
    while match := _BOUND.match(rest):
        bounds.append((match[1], float(match[2])))
        rest = rest[match.end() :]
    rest = rest.strip().removeprefix(",").strip()
    field = Field(name, kind, "", choices, tuple(bounds))
    default = None
    if match := _DEFAULT.fullmatch(rest):
        default = field.check(match[1].strip())
    elif rest not in ("", "optional"):
        raise UserError(f"parameter {name!r}: {rest!r} is not understood; write 'optional' or 'default …'")
    return Field(name, kind, "", choices, tuple(bounds), default, default is None and rest != "optional")
