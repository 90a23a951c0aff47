"""The canvas: a graph of component nodes as JSON, stored by name, checked as far as that goes without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec

from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name
from lit.trainer.asset import FeatureSpec
from lit.trainer.component import Component


class Node(msgspec.Struct):
    """A component on the canvas. `position` is the screen's business."""

    id: str
    component: str
    properties: dict[str, Any] = {}
    position: dict[str, float] = {}


class Edge(msgspec.Struct):
    """A connection from one node's output to another's input. Edges into a node count in their order."""

    source: str
    target: str


class Canvas(msgspec.Struct):
    """A model's design. `settings` has the properties of the Settings component: project, asset."""

    name: str
    settings: dict[str, Any] = {}
    nodes: list[Node] = []
    edges: list[Edge] = []


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, and with which node (empty: with the canvas)."""

    node: str
    message: str

    def __str__(self) -> str:
        return f"node {self.node}: {self.message}" if self.node else self.message


def parse_canvas(data: Mapping[str, Any] | bytes | str) -> Canvas:
    """Read a canvas from JSON or plain data.

    Raises
    ------
    UserError
        If it is no canvas; the sentence has the place.
    """
    try:
        if isinstance(data, bytes | str):
            return msgspec.json.decode(data, type=Canvas)
        return msgspec.convert(data, Canvas)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UserError(f"this is not a canvas: {error}") from error


def save_canvas(workspace: Workspace, canvas: Canvas) -> None:
    """Write a canvas to the team's `models` folder under its name; an unfinished one may be saved."""
    path = workspace.folder("models") / f"{checked_name(canvas.name, 'canvas')}.json"
    draft = path.with_suffix(".draft")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(canvas), indent=2))
    draft.replace(path)


def load_canvas(workspace: Workspace, name: str) -> Canvas:
    """Read a canvas of the team by name."""
    path = workspace.path("models") / f"{checked_name(name, 'canvas')}.json"
    if not path.is_file():
        raise UserError(f"canvas {name!r} does not exist: the team has {', '.join(canvases(workspace)) or 'none'}")
    return parse_canvas(path.read_bytes())


def delete_canvas(workspace: Workspace, name: str) -> None:
    """Delete a canvas of the team, if it exists."""
    (workspace.path("models") / f"{checked_name(name, 'canvas')}.json").unlink(missing_ok=True)


def canvases(workspace: Workspace) -> list[str]:
    """List the team's canvases by name."""
    return sorted(path.stem for path in workspace.path("models").glob("*.json"))


def problems(
    canvas: Canvas, components: Mapping[str, Component], features: Mapping[str, FeatureSpec] | None = None
) -> list[Problem]:
    """Return all that is wrong with a canvas as far as its graph, forms and the asset's features tell."""
    found = [*_node_problems(canvas, components, features), *_edge_problems(canvas)]
    if found:
        return found
    return [*_graph_problems(canvas, components)]


def order(canvas: Canvas) -> list[Node]:
    """Return the nodes so that each comes after those it takes from; ties in the canvas' own order.

    Raises
    ------
    UserError
        If nodes form a cycle.
    """
    before: dict[str, list[str]] = {node.id: [] for node in canvas.nodes}
    for edge in canvas.edges:
        before[edge.target].append(edge.source)
    nodes = {node.id: node for node in canvas.nodes}
    try:
        return [nodes[identity] for identity in TopologicalSorter(before).static_order()]
    except CycleError as error:
        raise UserError(f"nodes {' → '.join(error.args[1])} form a cycle: remove one of these edges") from error


def sources(canvas: Canvas, node: str) -> list[str]:
    """Return the nodes whose outputs go into `node`, in the order of the edges."""
    return [edge.source for edge in canvas.edges if edge.target == node]


def node_of_role(canvas: Canvas, components: Mapping[str, Component], role: str) -> Node | None:
    """Return the first node whose component has this role."""
    return next((node for node in canvas.nodes if components[node.component].role == role), None)


def _node_problems(
    canvas: Canvas, components: Mapping[str, Component], features: Mapping[str, FeatureSpec] | None
) -> list[Problem]:
    found = []
    seen: set[str] = set()
    for node in canvas.nodes:
        if node.id in seen:
            found.append(Problem(node.id, "another node has the same id"))
        seen.add(node.id)
        component = components.get(node.component)
        if component is None:
            known = ", ".join(sorted(components))
            found.append(Problem(node.id, f"there is no component {node.component!r}: use one of {known}"))
        elif component.error:
            found.append(Problem(node.id, f"component {component.name} cannot be used: {component.error}"))
        else:
            found += _form_problems(node, component, features)
    return found


def _form_problems(node: Node, component: Component, features: Mapping[str, FeatureSpec] | None) -> list[Problem]:
    try:
        checked_name(node.id, "node id")
        values = component.values(node.properties)
    except UserError as error:
        return [Problem(node.id, str(error))]
    return [
        Problem(
            node.id,
            f"{item.name} is {values[item.name]!r}, which the asset does not have: it has {', '.join(features)}",
        )
        for item in component.properties
        if features is not None and item.kind in ("feature", "label") and values[item.name] not in features
    ]


def _edge_problems(canvas: Canvas) -> list[Problem]:
    ids = {node.id for node in canvas.nodes}
    found = [
        Problem("", f"edge {edge.source} → {edge.target} has an end that is no node: remove it")
        for edge in canvas.edges
        if edge.source not in ids or edge.target not in ids
    ]
    doubled = {(e.source, e.target) for e in canvas.edges if canvas.edges.count(e) > 1}
    return found + [Problem(target, f"it is connected to {source} twice") for source, target in sorted(doubled)]


def _graph_problems(canvas: Canvas, components: Mapping[str, Component]) -> list[Problem]:
    roles = {node.id: components[node.component].role for node in canvas.nodes}
    found = []
    for role, name in (("input", "Input"), ("output", "Output")):
        if role not in roles.values():
            found.append(Problem("", f"there is no {name} node: add one"))
    for role, name in (("output", "Output"), ("globals", "Globals")):
        several = [identity for identity, value in roles.items() if value == role]
        found += [Problem(node, f"there may be only one {name} node: remove this one") for node in several[1:]]
    taken = {edge.source for edge in canvas.edges}
    for node in canvas.nodes:
        found += _port_problems(canvas, node, components[node.component], node.id in taken)
    try:
        order(canvas)
    except UserError as error:
        found.append(Problem("", str(error)))
    return found


def _port_problems(canvas: Canvas, node: Node, component: Component, taken: bool) -> list[Problem]:
    count = len(sources(canvas, node.id))
    found = []
    if count < component.least:
        wanted = "an input" if component.least == 1 else f"{component.least} inputs"
        found.append(Problem(node.id, f"{component.name} needs {wanted}: connect another node to it"))
    if component.most is not None and count > component.most:
        most = {0: "no input", 1: "one input"}.get(component.most, f"{component.most} inputs")
        found.append(Problem(node.id, f"{component.name} takes {most}, not {count}: join them with Concatenate"))
    if component.role in ("layer", "input") and not taken:
        found.append(Problem(node.id, "its output goes nowhere: connect it, or remove the node"))
    if component.role not in ("layer", "input") and taken:
        found.append(Problem(node.id, f"{component.name} has no output: remove the edge that leaves it"))
    return found
