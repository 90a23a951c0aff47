"""What a sweep varies: properties of canvas nodes, each with a range or with choices. No Optuna at import.

Notation, by `node.property`: a range is text such as `0.0001..0.1 log`, `16..256 step 16` or `0..0.5`; choices are a
list, or text with bars such as `64, 32 | 128`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit.streams.errors import UserError
from lit.trainer.canvas import Canvas
from lit.trainer.component import Component
from lit.trainer.properties import Property

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:(log)|step\s+({_NUMBER}))?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dimension:
    """One property that is varied.

    Attributes
    ----------
    name : str
        `node.property`.
    whole : bool
        Whether a range is of whole numbers.
    low, high, step, log
        The range, if there are no choices; both ends belong to it.
    choices : tuple of str
        Values as a form takes them.
    """

    name: str
    whole: bool = False
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def distribution(self) -> Any:
        """Return it as Optuna's distribution."""
        from optuna import distributions as kinds

        if self.choices:
            return kinds.CategoricalDistribution(self.choices)
        if self.whole:
            return kinds.IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return kinds.FloatDistribution(self.low, self.high, self.log, self.step)


def read_space(given: Mapping[str, Any], canvas: Canvas, components: Mapping[str, Component]) -> tuple[Dimension, ...]:
    """Read a search space and check it against the canvas.

    Raises
    ------
    UserError
        If it is empty, a node or property does not exist, or a range or choice does not fit the property.
    """
    if not given:
        raise UserError("the sweep varies nothing: give it a space, such as globals.learning_rate = 0.0001..0.1 log")
    return tuple(_dimension(name, value, _property(name, canvas, components)) for name, value in given.items())


def varied(canvas: Canvas, params: Mapping[str, Any]) -> Canvas:
    """Return the canvas with the properties of one trial."""
    found = copy.deepcopy(canvas)
    nodes = {node.id: node for node in found.nodes}
    for name, value in params.items():
        node, _, item = name.rpartition(".")
        nodes[node].properties[item] = value
    return found


def read_choices(text: str) -> dict[str, str]:
    """Read `node.property=range` as a command line gives it."""
    name, equals, value = text.partition("=")
    if not equals or not value.strip():
        raise UserError(
            f"{text!r} varies nothing: write node.property=RANGE, such as globals.learning_rate=1e-4..0.1 log"
        )
    return {name.strip(): value.strip()}


def _property(name: str, canvas: Canvas, components: Mapping[str, Component]) -> Property:
    node, _, item = name.rpartition(".")
    found = next((each for each in canvas.nodes if each.id == node), None)
    if found is None:
        ids = ", ".join(each.id for each in canvas.nodes)
        raise UserError(f"{name!r} is of no node: write node.property; the nodes of canvas {canvas.name!r} are {ids}")
    component = components.get(found.component)
    known = {each.name: each for each in component.properties} if component else {}
    if item not in known:
        raise UserError(f"node {node}: {found.component} has no property {item!r}: it has {', '.join(known) or 'none'}")
    return known[item]


def _dimension(name: str, given: Any, of: Property) -> Dimension:
    if isinstance(given, str) and (match := _RANGE.fullmatch(given)):
        return _range(name, of, match)
    choices = [part.strip() for part in given.split("|")] if isinstance(given, str) else given
    if not isinstance(choices, list) or not choices:
        raise UserError(f"{name} varies over {given!r}: use a range such as 0.001..0.1 log, or choices such as 32 | 64")
    for choice in choices:
        try:
            of.value(choice)
        except UserError as error:
            raise UserError(f"a choice of {name} does not fit: {error}") from error
    return Dimension(name, choices=tuple(_text(choice) for choice in choices))


def _range(name: str, of: Property, match: re.Match[str]) -> Dimension:
    if of.kind not in ("int", "float"):
        raise UserError(f"{name} is no number, so it has no range: give choices, such as 64, 32 | 128")
    low, high, step = float(match[1]), float(match[2]), float(match[4]) if match[4] else None
    whole = of.kind == "int"
    if not low < high or (match[3] and low <= 0) or (step is not None and step <= 0):
        raise UserError(f"{name} ranges over {match[0].strip()!r}: begin with the smaller number, above 0 with log")
    if whole and not all(number.is_integer() for number in (low, high, step or 1.0)):
        raise UserError(f"{name} ranges over {match[0].strip()!r}, but is a whole number: use whole numbers")
    return Dimension(name, whole, low, high, step, bool(match[3]))


def _text(choice: Any) -> str:
    if isinstance(choice, list | tuple):
        return ", ".join(map(str, choice))
    return choice if isinstance(choice, str) else json.dumps(choice)
