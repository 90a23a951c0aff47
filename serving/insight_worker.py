"""The process that insights are computed in: TensorFlow, shap and models' feature scripts live here, not in the API.

It reads requests from standard input and writes replies to standard output, each a msgpack object behind its length
(4 bytes, big-endian); `lit.serving.insight_process` is the other side. Quick questions (inputs, what-if) and slow ones
(impact) have a thread each, so that an edit of an input is answered while an impact is computed.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from lit.serving import insight
from lit.serving.insight import Cell, Sample
from lit.serving.insight_game import EXACT_PLAYERS, warm_up
from lit.serving.insight_window import Recorded, window_of
from lit.streams.errors import FaultError, LitError, UserError
from lit.streams.workspace import Workspace

#: Models that stay loaded; each is megabytes to hundreds of megabytes.
KEPT_MODELS = 4
_MEMORY = 6 << 30
_LENGTH = struct.Struct(">I")

#: Whose model: `data`, `team`, `model`.
Subject = dict[str, str]


def write_frame(stream: IO[bytes], value: Any) -> None:
    """Write one object."""
    data = msgspec.msgpack.encode(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Any:
    """Read one object; None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return msgspec.msgpack.decode(stream.read(_LENGTH.unpack(head)[0]))


def packed(sample: Sample) -> dict[str, Any]:
    """Return arrays as msgpack can carry them."""
    return {
        name: {"shape": list(v.shape), "data": np.ascontiguousarray(v, np.float32).tobytes()}
        for name, v in sample.items()
    }


def unpacked(sample: dict[str, Any]) -> dict[str, insight.Array]:
    """Return what `packed` packed."""
    return {
        name: np.frombuffer(item["data"], np.float32).reshape(item["shape"]).copy() for name, item in sample.items()
    }


class _Opened:
    """A vault item ready for questions."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        from lit.serving.opening import open_model
        from lit.trainer import vault
        from lit.trainer.backend import load

        self.item = vault.load(workspace, name)
        self.model = open_model(workspace, name, single=False)
        predictor: Any = self.model.predictor
        self.predictor = predictor
        self.columns = {spec.name: list(spec.columns) for spec in self.item.inputs}
        self._workspace = workspace
        self._backgrounds: dict[str, tuple[Sample, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        tf, _ = load()
        specs = [tf.TensorSpec((None, *spec.shape), tf.float32) for spec in self.item.inputs]
        graph = tf.function(lambda *values: predictor.model(list(values), training=False), input_signature=specs)
        self._many = graph.get_concrete_function()
        self._constant = tf.constant
        self.predictor.predict({spec.name: np.zeros(spec.shape, np.float32) for spec in self.item.inputs})

    def outputs(self, batch: Sample) -> Any:
        """Return the outputs for any number of samples; last bits may differ from `predict`'s."""
        return self._many(*(self._constant(batch[spec.name]) for spec in self.item.inputs)).numpy()

    def background(self, symbol: str) -> tuple[Sample, dict[str, Any]]:
        """Return samples of the training asset, of the symbol if it has enough of them, and which they are."""
        with self._lock:
            if symbol not in self._backgrounds:
                self._backgrounds[symbol] = _background(self._workspace, self.item, symbol)
            return self._backgrounds[symbol]


def _background(workspace: Workspace, item: Any, symbol: str) -> tuple[Sample, dict[str, Any]]:
    """Draw samples; columns of one symbol can be mixed with each other, a price of another symbol makes no bar."""
    from lit.trainer.asset import Asset, asset_path

    origin = item.lineage.get("asset", {})
    job = origin.get("schema", {})  # a build's snapshot, which holds the schema
    name = str(job.get("schema", job).get("name", ""))
    if not name:
        raise UserError(f"vault item {item.name!r} does not say its training asset: impact needs samples of it")
    path, _ = asset_path(workspace, name)
    with Asset(path) as asset:
        own = np.empty(0, np.int64)
        with suppress(UserError):  # the symbol is not in the asset
            own = asset.rows([symbol])
        enough = len(own) >= insight.BACKGROUND
        pool = own if enough else np.arange(len(asset))
        rows = np.sort(np.random.default_rng(0).permutation(pool)[: insight.BACKGROUND])
        (batch,) = asset.chunks(item.features, rows, size=len(rows))
        facts = {
            "asset": name,
            "digest": asset.digest,
            "rows": len(rows),
            "symbol": symbol if enough else None,
            "is_training_asset": asset.digest == origin.get("digest"),
        }
    return {name: np.asarray(batch[name], np.float32) for name in item.features}, facts


class Worker:
    """Answers questions; models stay open as long as they are asked for."""

    def __init__(self) -> None:
        self._opened: OrderedDict[tuple[str, str, str, int], _Opened] = OrderedDict()
        self._lock = threading.Lock()
        self._warm = False

    def reads(self, subject: Subject) -> dict[str, Any]:
        """Return what a model's inputs read of a stream."""
        from lit.features.probe import probe

        opened = self._open(**subject)
        if not self._warm and sum(map(len, opened.columns.values())) > EXACT_PLAYERS:  # its impact needs a compiler
            self._warm = True
            threading.Thread(target=warm_up, args=(EXACT_PLAYERS + 1,), daemon=True).start()
        found = probe(opened.model.inputs)
        intervals = {str(interval) for reads in found.values() for interval in reads.intervals}
        return {"intervals": sorted(intervals), "ticks": any(reads.ticks for reads in found.values())}

    def inputs(self, subject: Subject, recorded: dict[str, Any], index: int) -> dict[str, Any]:
        """Compute a model's inputs anew; `short`: with more of the past they might be others."""
        from lit.features.window import NeedMoreData
        from lit.serving.predictions import inputs_digest, inputs_of

        opened = self._open(**subject)
        past = msgspec.convert(recorded, Recorded)
        window = window_of(past)
        try:
            found = inputs_of(opened.model, window, index)  # type: ignore[arg-type]
        except (Exception, NeedMoreData):
            if not past.more:
                raise
            return {"short": True, "inputs": None}  # with more of the past it may do
        if found is None:
            return {"short": window.short, "inputs": None}
        said = np.asarray(opened.predictor.predict(found), np.float64)
        return {
            "short": window.short,
            "inputs": packed(found),
            "digest": inputs_digest(found),
            "columns": opened.columns,
            "prediction": said.tolist(),
            "epoch": opened.item.epoch,
        }

    def impact(self, subject: Subject, inputs: dict[str, Any], symbol: str, output: int | None) -> dict[str, Any]:
        """Return saliency and independence of columns and features."""
        opened = self._open(**subject)
        background, facts = opened.background(symbol)
        return {
            "impact": msgspec.to_builtins(insight.impact(opened.outputs, unpacked(inputs), background, output)),
            "background": facts,
        }

    def influences(self, subject: Subject, inputs: dict[str, Any], symbol: str, output: int | None) -> dict[str, Any]:
        """Return the most influential cells."""
        opened = self._open(**subject)
        background, facts = opened.background(symbol)
        found, number = insight.influences(opened.outputs, unpacked(inputs), background, output)
        return {"cells": msgspec.to_builtins(found), "output": number, "background": facts}

    def what_if(
        self,
        subject: Subject,
        inputs: dict[str, Any],
        edits: list[tuple[dict[str, Any], float]],
        output: int | None,
    ) -> dict[str, Any]:
        """Predict edited inputs."""
        opened, sample = self._open(**subject), unpacked(inputs)
        cells = [(msgspec.convert(cell, Cell), value) for cell, value in edits]
        after = opened.predictor.predict(insight.edited(sample, cells))
        before = opened.predictor.predict(sample)
        if not np.isfinite(after).all():
            raise UserError(f"of these inputs the model says {after.tolist()}: no finite number")
        number = insight.chosen_output(before, output)
        edits_apart = insight.apart(opened.outputs, sample, cells, before, number)
        return {
            "prediction": after.tolist(),
            "original": before.tolist(),
            "output": number,
            "edits": msgspec.to_builtins(edits_apart),
        }

    def _open(self, data: str, team: str, model: str) -> _Opened:
        workspace = Workspace(Path(data), team)
        record = workspace.path("vault", model) / "item.json"
        key = (data, team, model, record.stat().st_mtime_ns if record.exists() else 0)
        with self._lock:
            opened = self._opened.pop(key, None) or _Opened(workspace, model)
            self._opened[key] = opened
            while len(self._opened) > KEPT_MODELS:
                self._opened.popitem(last=False)
            return opened


#: Questions, and whether they are slow.
_SLOW = {"reads": False, "inputs": False, "what_if": False, "influences": True, "impact": True}


def serve(requests: IO[bytes], replies: IO[bytes], worker: Worker) -> None:
    """Answer until the requests end."""
    lock = threading.Lock()
    threads = {slow: ThreadPoolExecutor(1) for slow in (False, True)}
    threads[True].submit(warm_up, 2)
    while (request := read_frame(requests)) is not None:
        question, slow = getattr(worker, request["question"]), _SLOW[request["question"]]
        threads[slow].submit(_answer, question, request, replies, lock)


def _answer(question: Callable[..., Any], request: Any, replies: IO[bytes], lock: threading.Lock) -> None:
    reply: dict[str, Any] = {"id": request["id"]}
    try:
        reply["value"] = question(**request["arguments"])
    except LitError as error:
        reply |= {"error": str(error), "fault": not isinstance(error, UserError)}
    except MemoryError:
        reply |= {"error": f"this model needs more than {_MEMORY >> 30} GB of memory here", "fault": False}
    except BaseException as error:  # a script's SystemExit too: whatever it was, the user is told
        reply |= {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", "fault": True}
    with lock:
        write_frame(replies, reply)


def main() -> None:
    """Be the worker."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what scripts and libraries print is no reply
    from lit.trainer.backend import load

    try:
        load()
    except ImportError as error:
        raise FaultError(f"TensorFlow can't be imported: {error}") from error
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    total = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (total, total))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    write_frame(replies, {"ready": True})
    serve(sys.stdin.buffer, replies, Worker())
    os._exit(0)


if __name__ == "__main__":
    main()
