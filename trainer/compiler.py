"""Compiles a canvas to a Keras functional model; says which node is at fault when that fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit.streams.errors import UserError
from lit.trainer.asset import FeatureSpec
from lit.trainer.backend import load
from lit.trainer.canvas import Canvas, Node, Problem, node_of_role, order, problems, sources
from lit.trainer.component import Component, described


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """What a node became: the shape of its output (without the sample axis) and its number of weights."""

    node: str
    component: str
    shape: tuple[int | None, ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A canvas as a Keras model.

    Attributes
    ----------
    model : keras.Model
        Takes a list of tensors, one a feature of `inputs`, in that order.
    inputs : tuple of FeatureSpec
        Features that the model takes.
    label : FeatureSpec
        Feature that the model learns.
    settings : dict
        What the Globals node says: optimizer, loss, batch_size, epochs…
    nodes : tuple of NodeSummary
        One a node of the graph.
    """

    model: Any
    inputs: tuple[FeatureSpec, ...]
    label: FeatureSpec
    settings: dict[str, Any]
    nodes: tuple[NodeSummary, ...]


class CanvasError(UserError):
    """A canvas that cannot be compiled, with all that is wrong with it."""

    def __init__(self, name: str, found: list[Problem]) -> None:
        self.problems = found
        super().__init__(f"canvas {name!r}: " + "; ".join(str(problem) for problem in found))


def compile_canvas(
    canvas: Canvas, components: Mapping[str, Component], features: Mapping[str, FeatureSpec]
) -> Compiled:
    """Build the model of a canvas over an asset's features.

    Raises
    ------
    CanvasError
        If the canvas has problems, each with the node's id.
    """
    if found := problems(canvas, components, features):
        raise CanvasError(canvas.name, found)
    _, keras = load()
    built = _Builder(canvas, components, features)
    for node in order(canvas):
        built.add(node)
    output = node_of_role(canvas, components, "output")
    assert output is not None
    label = features[components[output.component].values(output.properties)["feature"]]
    model = keras.Model([tensor for _, tensor in built.inputs], built.tensors[output.id], name=layer_name(canvas.name))
    return Compiled(model, tuple(spec for spec, _ in built.inputs), label, built.settings, tuple(built.nodes))


class _Builder:
    """Calls `make_component` node by node and keeps what comes of it."""

    def __init__(
        self, canvas: Canvas, components: Mapping[str, Component], features: Mapping[str, FeatureSpec]
    ) -> None:
        self._canvas, self._components, self._features = canvas, components, features
        self.tensors: dict[str, Any] = {}
        self.inputs: list[tuple[FeatureSpec, Any]] = []
        self.settings: dict[str, Any] = {}
        self.nodes: list[NodeSummary] = []
        self._counted: set[int] = set()
        if node_of_role(canvas, components, "globals") is None and "Globals" in components:
            self.settings = self._call(Node("Globals", "Globals"), [])

    def add(self, node: Node) -> None:
        """Make one node, whose sources have been made."""
        role = self._components[node.component].role
        incoming = [self.tensors[source] for source in sources(self._canvas, node.id)]
        made = self._call(node, incoming)
        if role == "globals":
            self.settings = made
        if role in ("globals", "settings"):
            return
        if role == "input":
            tensor, made = made
            self.inputs.append((self._spec(node), tensor))
        self.tensors[node.id] = made
        if not hasattr(made, "shape"):
            raise CanvasError(
                self._canvas.name, [Problem(node.id, f"{node.component} returned {made!r}, not a Keras tensor")]
            )
        self.nodes.append(NodeSummary(node.id, node.component, tuple(made.shape[1:]), self._new_weights(made)))

    def _call(self, node: Node, incoming: list[Any]) -> Any:
        component = self._components[node.component]
        values = component.values(node.properties)
        extra = {"spec": self._spec(node)} if component.role in ("input", "output") else {}
        try:
            return component.make()(name=layer_name(node.id), inputs=incoming, **extra, **values)
        except UserError as error:
            raise CanvasError(self._canvas.name, [Problem(node.id, str(error))]) from error
        except Exception as error:
            shapes = ", ".join(str(tuple(tensor.shape[1:])) for tensor in incoming)
            where = f" (inputs: {shapes})" if shapes else ""
            text = described(error, component.name) + where
            raise CanvasError(self._canvas.name, [Problem(node.id, text)]) from error

    def _spec(self, node: Node) -> FeatureSpec:
        return self._features[self._components[node.component].values(node.properties)["feature"]]

    def _new_weights(self, tensor: Any) -> int:
        """Count weights of the layers between this tensor and what was counted before."""
        total, waiting = 0, [tensor]
        while waiting:
            history = getattr(waiting.pop(), "_keras_history", None)
            if history is None or id(history.operation) in self._counted:
                continue
            self._counted.add(id(history.operation))
            total += history.operation.count_params() if hasattr(history.operation, "count_params") else 0
            for node in history.operation._inbound_nodes:
                waiting += node.input_tensors
        return total


def layer_name(text: str) -> str:
    """Return a node's id as Keras allows it for a layer."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)
