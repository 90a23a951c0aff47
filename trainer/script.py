"""A canvas as a Python program that builds the same model with Keras alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from lit.streams.errors import UserError
from lit.trainer.asset import FeatureSpec
from lit.trainer.canvas import Canvas, Node, order, problems, sources
from lit.trainer.compiler import CanvasError, layer_name
from lit.trainer.component import Component

_HEAD = '''"""Model {name}, with Keras alone.

`build()` returns the model, with weights as at the start of a training, and the settings that it is trained with. To
predict, read a trained model's weights: `build()[0].load_weights("model.h5")`. It takes a list of arrays in the order
of INPUTS.
"""

from collections import namedtuple

import keras

Spec = namedtuple("Spec", "name shape columns")
INPUTS = {inputs!r}
'''
_TAIL = """

if __name__ == "__main__":
    build()[0].summary()
"""


def as_script(canvas: Canvas, components: Mapping[str, Component], features: Mapping[str, FeatureSpec]) -> str:
    """Write the program of a canvas over an asset's features; the components' sources are in it.

    Raises
    ------
    CanvasError
        If the canvas has problems.
    """
    if found := problems(canvas, components, features):
        raise CanvasError(canvas.name, found)
    nodes = [node for node in order(canvas) if components[node.component].role != "settings"]
    if "Globals" in components and not any(components[node.component].role == "globals" for node in nodes):
        nodes.insert(0, Node("Globals", "Globals"))
    variables = _variables(nodes)
    inputs = [node for node in nodes if components[node.component].role == "input"]
    names = [str(components[node.component].values(node.properties)["feature"]) for node in inputs]
    parts = [_HEAD.format(name=layer_name(canvas.name), inputs=names)]
    parts += [_function(components[name]) for name in dict.fromkeys(node.component for node in nodes)]
    parts.append(_build(canvas, components, features, nodes, variables))
    return "\n\n".join(parts) + _TAIL


def _function(component: Component) -> str:
    """Wrap a component's source into a function that returns its `make_component`: names of two never meet."""
    tree = ast.parse(component.source)
    body = [item for item in tree.body if not (isinstance(item, ast.ImportFrom) and item.module == "__future__")]
    if any(isinstance(item, ast.ImportFrom) and item.names[0].name == "*" for item in body):
        raise UserError(f"component {component.name} imports *, which a program can't carry: name what it imports")
    text = ast.unparse(ast.Module(body, []))
    inner = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
    return f"def {_identifier(component.name)}_component():\n{inner}\n    return make_component\n"


def _build(
    canvas: Canvas,
    components: Mapping[str, Component],
    features: Mapping[str, FeatureSpec],
    nodes: list[Node],
    variables: dict[str, str],
) -> str:
    lines, heads, output, seed = [], [], "", 0
    settings = "{}"
    for node in nodes:
        component, variable = components[node.component], variables[node.id]
        values: dict[str, Any] = component.values(node.properties)
        incoming = ", ".join(variables[source] for source in sources(canvas, node.id))
        spec = ""
        if component.role in ("input", "output"):
            of = features[values["feature"]]
            spec = f" spec=Spec({of.name!r}, {of.shape!r}, {of.columns!r}),"
        given = "".join(f", {name}={value!r}" for name, value in values.items())
        call = f"{_identifier(component.name)}_component()"
        call += f"(name={layer_name(node.id)!r}, inputs=[{incoming}],{spec}{given[1:]})"
        if component.role == "input":
            heads.append(f"{variable}_input")
            lines.append(f"{variable}_input, {variable} = {call}")
        else:
            lines.append(f"{variable} = {call}")
        if component.role == "output":
            output = variable
        if component.role == "globals":
            settings, seed = variable, int(values.get("seed") or 0)
    lines.append(f"model = keras.Model([{', '.join(heads)}], {output}, name={layer_name(canvas.name)!r})")
    first = f"keras.backend.clear_session()\n    keras.utils.set_random_seed({seed})"
    return (
        f"def build():\n    {first}\n" + "".join(f"    {line}\n" for line in lines) + f"    return model, {settings}\n"
    )


def _variables(nodes: list[Node]) -> dict[str, str]:
    """Give each node a Python name of its own."""
    found: dict[str, str] = {}
    for node in nodes:
        name = wanted = f"{_identifier(node.id)}_"
        number = 1
        while name in found.values():
            number += 1
            name = f"{wanted}{number}_"
        found[node.id] = name
    return found


def _identifier(text: str) -> str:
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return f"n{name}" if name[:1].isdigit() else name
