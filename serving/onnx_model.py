"""A vault item's model as ONNX, for runtimes without Keras; what ONNX cannot say is named.

The conversion runs in a process of its own, with limits: it loads TensorFlow and may run a trusted item's own layers.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from lit.features.sandbox import call
from lit.streams.errors import FaultError, UserError
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.trust import check_trusted

#: Understood by onnxruntime since 1.14.
OPSET = 18
_SECONDS = 300.0
_MEMORY = 8 << 30
#: Largest difference to Keras, for outputs around 1.
_TOLERANCE = 1e-4


def write_onnx(workspace: Workspace, name: str, path: Path) -> None:
    """Write a vault item's model as ONNX, with inputs named as the features (blanks as `_`), samples first.

    Where onnxruntime is installed, its predictions are held against those of Keras.

    Raises
    ------
    UserError
        If the item is refused (see `Predictor.open`), or ONNX lacks an operation; the sentence names it.
    FaultError
        If onnxruntime predicts something else.
    """
    item = vault.load(workspace, name)
    check_trusted(item)  # before a process is started for it
    arguments = {"data": str(workspace.data.resolve()), "team": workspace.team, "name": name, "path": str(path)}
    reply = call("lit.serving.onnx_model:convert", arguments, seconds=_SECONDS, memory=_MEMORY).value
    if reply["unknown"]:
        raise UserError(
            f"vault item {name!r} can't be written as ONNX: ONNX has no {', '.join(reply['unknown'])}; "
            "export it without --onnx, which keeps the Keras model"
        )
    if reply["difference"] is not None and reply["difference"] > _TOLERANCE:
        path.unlink()
        raise FaultError(
            f"ONNX predicts otherwise than Keras, by {reply['difference']:.2g}: do not use it for vault item {name!r}"
        )


def convert(data: str, team: str, name: str, path: str) -> dict[str, Any]:
    """Do the conversion; the child's side.

    Returns
    -------
    dict
        `unknown`: operations that ONNX lacks (then nothing is written). `difference`: the largest between Keras and
        onnxruntime over a few samples; None if that is not installed.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np

    from lit.serving.predictor import open_model
    from lit.trainer.backend import load
    from lit.trainer.compiler import layer_name

    tf, _ = load()
    item = vault.load(Workspace(Path(data), team), name)
    model = open_model(item)
    _plain(model)
    names = [layer_name(spec.name) for spec in item.inputs]
    signature = [
        tf.TensorSpec((None, *spec.shape), tf.float32, name=name) for name, spec in zip(names, item.inputs, strict=True)
    ]
    made = _onnx(tf.function(lambda *x: model(list(x), training=False), input_signature=signature), signature)
    if unknown := _unknown(made):
        return {"unknown": unknown, "difference": None}
    Path(path).write_bytes(made.SerializeToString())
    if importlib.util.find_spec("onnxruntime") is None:
        return {"unknown": [], "difference": None}
    import onnxruntime

    rng = np.random.default_rng(0)
    x = [rng.normal(0, 1, (3, *spec.shape)).astype(np.float32) for spec in item.inputs]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, dict(zip(names, x, strict=True)))[0]
    expected = np.asarray(model(x, training=False))
    return {"unknown": [], "difference": float(np.max(np.abs(found - expected) / (1 + np.abs(expected))))}


def _plain(model: Any) -> None:
    """Rid a model of what the converter stumbles over, without an effect on predictions."""
    import numpy as np

    for layer in model._flatten_layers(include_self=False, recursive=True):
        kind = type(layer).__name__
        if kind in ("LSTMCell", "GRUCell", "SimpleRNNCell"):  # these draw random numbers even where they use none
            layer.dropout = layer.recurrent_dropout = 0.0
        if kind == "Normalization":  # its tensors would become further inputs
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)


def _onnx(function: Any, signature: Any) -> Any:
    import tf2onnx

    handlers: dict[str, Any] = {"Erfc": (_erfc, [])}
    made, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET, custom_op_handlers=handlers)
    return made


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Write erfc(x), of which gelu is made and which ONNX lacks, as 1 - erf(x)."""
    del name, arguments
    import numpy as np

    shapes, kinds, outputs = [graph.get_shape(node.output[0])], [graph.get_dtype(node.output[0])], list(node.output)
    given = node.input[0]
    graph.remove_node(node.name)
    one = graph.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
    erf = graph.make_node("Erf", [given]).output[0]
    graph.make_node("Sub", [one, erf], name=node.name, outputs=outputs, shapes=shapes, dtypes=kinds)


def _unknown(model: Any) -> list[str]:
    """Return operations that the standard does not have: tf2onnx leaves what it can't convert as it is."""
    from onnx import defs

    def known(node: Any) -> bool:
        return bool(defs.has(node.op_type, OPSET, node.domain))

    def walk(graph: Any) -> set[str]:
        found = {node.op_type for node in graph.node if not known(node)}
        for node in graph.node:
            for attribute in node.attribute:
                found |= walk(attribute.g) if attribute.g.node else set()
        return found

    return sorted(walk(model.graph))
