"""A form: the parameters that a feature script takes, their types, and the check of what a user filled in."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit.features.intervals import canonical_unit
from lit.streams.errors import UserError

_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of a number, such as `>= 1`."""

    sign: str
    value: float

    def __str__(self) -> str:
        return f"{self.sign} {self.value:g}"

    def holds(self, value: float) -> bool:
        """Whether the value keeps to it."""
        return bool(_COMPARE[self.sign](value, self.value))


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter.

    Parameters
    ----------
    name, help
        What the user reads.
    kind
        `number`, `integer`, `boolean`, `text`, `choice` or `feature` (another feature's name).
    choices
        Of a `choice`.
    bounds
        Of a number or integer.
    default
        Filled in where no value is given; None: the script deals with a missing value.
    example
        What an empty form starts with.
    """

    name: str
    kind: str
    help: str = ""
    choices: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    default: Any = None
    example: Any = None

    def check(self, value: Any) -> Any:
        """Return the value in the type of this field, or raise `UserError` with the fix."""
        if self.kind in ("number", "integer"):
            return self._number(value)
        if self.kind == "boolean":
            if isinstance(value, bool):
                return value
            if str(value).lower() in ("true", "false"):
                return str(value).lower() == "true"
            raise UserError(f"{self.name!r} is {value!r}: use true or false")
        if not isinstance(value, str) or not value:
            raise UserError(f"{self.name!r} is {value!r}: give a text")
        return self._choice(value) if self.kind == "choice" else value

    def _number(self, value: Any) -> int | float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{self.name!r} is {value!r}: give a number")
        if self.kind == "integer" and not number.is_integer():
            raise UserError(f"{self.name!r} is {value!r}: give a whole number")
        if broken := [bound for bound in self.bounds if not bound.holds(number)]:
            raise UserError(f"{self.name!r} is {value!r}: give a number {broken[0]}")
        return int(number) if number.is_integer() else number

    def _choice(self, value: str) -> str:
        if value in self.choices:
            return value
        try:  # `min` and `minutes` mean `minute` wherever that is a choice
            unit = canonical_unit(value)
        except UserError:
            unit = value
        if unit in self.choices:
            return unit
        raise UserError(f"{self.name!r} is {value!r}: choose one of {', '.join(self.choices)}")


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of a script, in the order of its docstring."""

    fields: tuple[Field, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameters that have a default, with it."""
        return {field.name: field.default for field in self.fields if field.default is not None}

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters checked, in the form's order, defaults filled in; None counts as missing.

        Raises
        ------
        UserError
            If a value does not fit its field, or no field has that name.
        """
        known = {field.name: field for field in self.fields}
        given = {name: value for name, value in params.items() if value is not None}
        for name in given:
            if name not in known:
                names = ", ".join(known) or "it takes none"
                raise UserError(f"parameter {name!r} is unknown (known: {names})")
        checked = {name: field.check(given[name]) for name, field in known.items() if name in given}
        return {name: value for name, field in known.items() if (value := checked.get(name, field.default)) is not None}

    def features(self, params: Mapping[str, Any]) -> list[str]:
        """Return the names of other features that these parameters refer to."""
        return [params[f.name] for f in self.fields if f.kind == "feature" and f.name in params]

    def json(self) -> list[dict[str, Any]]:
        """Return the fields as plain JSON types, as the page's forms read them."""
        return [
            {
                "name": field.name,
                "kind": field.kind,
                "help": field.help,
                "choices": list(field.choices),
                "bounds": [str(bound) for bound in field.bounds],
                "default": field.default,
                "example": field.example,
            }
            for field in self.fields
        ]
