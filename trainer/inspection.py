"""What a canvas would become, found out in a process of its own: `python -m lit.trainer.inspection`.

Building a model runs a team's components and needs TensorFlow; neither has a place in a server. The process reads
requests and writes replies, a JSON object a line; it ends with its input, or when nothing came for a while.
`lit.trainer.inspector` is the other side.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from lit.streams.errors import LitError, UserError
from lit.trainer.asset import Asset
from lit.trainer.canvas import Canvas, Problem, node_of_role, parse_canvas
from lit.trainer.compiler import CanvasError, Compiled, NodeSummary, compile_canvas
from lit.trainer.component import Component, read_component

#: A process that nobody asked anything for so long ends.
IDLE_SECONDS = 600.0
#: What a request may allocate beyond TensorFlow itself.
MEMORY_BYTES = 4 << 30
#: Labels that are looked at; a training looks at all.
_LABELS = 65_536


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is wrong with a canvas, or what its nodes become.

    Attributes
    ----------
    problems : list of Problem
        Empty if it can be trained.
    nodes : list of NodeSummary
        Output shape and weights of each node, in the order of computation; empty with problems.
    parameters : int
        Weights in all.
    task, loss : str
        What the model is trained for: `binary`, `classes` or `regression`, and the loss that `auto` becomes.
    """

    problems: list[Problem] = field(default_factory=list)
    nodes: list[NodeSummary] = field(default_factory=list)
    parameters: int = 0
    task: str = ""
    loss: str = ""


def inspect_canvas(canvas: Canvas, components: Mapping[str, Component], asset: Path) -> Inspection:
    """Build a canvas' model over an asset's training part, and hold its label against output and loss."""
    from lit.trainer.backend import seed_everything

    output = node_of_role(canvas, components, "output") if not _unknown(canvas, components) else None
    seed_everything(0)  # forgets the models of earlier requests
    with Asset(asset) as train:
        try:
            compiled = compile_canvas(canvas, components, train.features)
            task, loss = _fitting(compiled, train, output.id if output else "")
        except CanvasError as error:
            return Inspection(error.problems)
        except UserError as error:
            node, text = output.id if output else "", str(error)
            return Inspection([Problem(node, text.removeprefix(f"node {node}: "))])
    nodes = list(compiled.nodes)
    return Inspection([], nodes, sum(node.parameters for node in nodes), task, loss)


def _unknown(canvas: Canvas, components: Mapping[str, Component]) -> bool:
    return any(node.component not in components for node in canvas.nodes)


def _fitting(compiled: Compiled, train: Asset, node: str) -> tuple[str, str]:
    import math

    from lit.trainer.hyper import Hyper
    from lit.trainer.objective import objective

    hyper = Hyper.of(compiled.settings)
    aim = objective(compiled.model, hyper.loss, math.prod(compiled.label.shape), node)
    labels = train.read(compiled.label.name, 0, _LABELS)
    if len(labels):
        aim.check(aim.targets(labels), compiled.label.name, node)
    return aim.task, aim.loss


def _answer(line: str) -> dict[str, Any]:
    request = json.loads(line)
    components = {name: read_component(name, source) for name, source in request["components"].items()}
    try:
        found = inspect_canvas(parse_canvas(request["canvas"]), components, Path(request["asset"]))
    except LitError as error:
        return {"error": str(error), "code": error.exit_code}
    except BaseException as error:  # a component may raise anything, SystemExit too
        return {"error": f"{type(error).__name__}: {error}", "code": 2}
    return {"problems": [{"node": p.node, "message": p.message} for p in found.problems]} | {
        key: value for key, value in asdict(found).items() if key != "problems"
    }


def main() -> None:
    """Serve requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what components or native code print is no reply
    from lit.trainer.backend import load

    load()
    _limit(MEMORY_BYTES)
    replies.write("ready\n")
    replies.flush()
    while wait([sys.stdin.fileno()], IDLE_SECONDS):
        line = sys.stdin.readline()
        if not line:
            break
        replies.write(json.dumps(_answer(line)) + "\n")
        replies.flush()
    os._exit(0)


def _limit(memory: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (total, total))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


if __name__ == "__main__":
    main()
