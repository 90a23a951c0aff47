"""Insights on a deployment's predictions: what the model saw, what of it mattered, and what it would say otherwise.

What the model saw is computed again from what the stream recorded, by the feature sources in the vault item; its digest
tells whether it is what the prediction was made of. Models run in processes of their own (`insight_process`).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.features.intervals import Interval
from lit.serving.config import DeploymentConfig
from lit.serving.insight import Array, Cell
from lit.serving.insight_process import InsightProcesses
from lit.serving.insight_record import Found, find_prediction, last_prediction, recorded_bars
from lit.serving.insight_ticks import recorded_ticks
from lit.serving.insight_window import Recorded
from lit.serving.insight_worker import unpacked
from lit.serving.opening import config_of, load_deployment
from lit.streams.errors import UserError
from lit.streams.records import Prediction
from lit.streams.workspace import Workspace

#: Bars that are read at first; more, where a feature reaches further back.
_BARS = 512
#: Ticks that are read at first where bars do not tell all.
_TICKS = 4096
#: Predictions whose inputs stay at hand, for edits that follow each other.
KEPT = 64


@dataclass(frozen=True)
class Situation:
    """A prediction with the inputs that the model saw.

    Parameters
    ----------
    columns
        Feature → names of its columns.
    same_inputs
        Whether the inputs computed now have the digest of those predicted from.
    prediction_now
        What the vault item says of them now.
    packed
        The inputs as the insight process takes them.
    """

    prediction: Prediction
    inputs: dict[str, Array]
    columns: dict[str, list[str]]
    same_inputs: bool
    prediction_now: list[float]
    epoch: int
    packed: dict[str, Any] = field(repr=False)

    @property
    def same_prediction(self) -> bool:
        """Whether the model says the same now, but for last bits (these depend on how many are computed at once)."""
        before, now = self.prediction.prediction, self.prediction_now
        return len(before) == len(now) and bool(np.allclose(before, now, rtol=1e-4, atol=1e-6))

    @property
    def notes(self) -> list[str]:
        """What a reader must know: a sentence for each thing that is not as it was."""
        found = []
        if self.prediction.over_gap:
            found.append("These inputs reach over a hole in the feed: what was traded in it is not in them.")
        if not self.same_inputs:
            found.append("These inputs are not those that were predicted from: their digests differ.")
        if self.epoch != self.prediction.epoch:
            found.append(
                f"The vault item is epoch {self.epoch} now; the prediction was made by epoch {self.prediction.epoch}."
            )
        if self.same_inputs and not self.same_prediction:
            found.append(f"The model says {self.prediction_now} of them now: it is not the one that predicted.")
        return found

    def cell(self, feature: str, row: int | None, column: str | int) -> Cell:
        """Return a cell by its column's name or number.

        Raises
        ------
        UserError
            If there is no such feature or column.
        """
        if feature not in self.columns:
            raise UserError(f"feature {feature!r} is no input of the model: it has {', '.join(self.columns)}")
        names = self.columns[feature]
        text = str(column)
        if text in names:
            return Cell(feature, row, names.index(text))
        if text.isascii() and text.removeprefix("-").isdigit():
            return Cell(feature, row, int(text))
        raise UserError(f"feature {feature!r} has no column {text!r}: it has {', '.join(names)}")

    def named(self, part: dict[str, Any]) -> dict[str, Any]:
        """Return a part or cell of an answer with its column's name for the number."""
        number = part["column"]
        return {**part, "column": None if number is None else self.columns[part["feature"]][number]}


class Insights:
    """Answers questions about predictions, for any team; close it to end its processes.

    Parameters
    ----------
    data, bootstrap
        Where files and records are.
    """

    def __init__(self, data: Path, bootstrap: str, processes: InsightProcesses | None = None) -> None:
        self._data, self._bootstrap = data.resolve(), bootstrap
        self.processes = processes or InsightProcesses()
        self._kept: OrderedDict[tuple[Any, ...], Situation] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the processes."""
        self.processes.close()

    def situation(
        self,
        team: str,
        deployment: str,
        index: int | None,
        symbol: str | None = None,
        model: str | None = None,
        *,
        hidden: bool = True,
    ) -> Situation:
        """Return a prediction (`index` None: the last one) and what the model saw.

        A shadow model's is `hidden`: it is found where it may be and the model is named.

        Raises
        ------
        UserError
            If there is no such prediction, or its inputs can't be computed again: why.
        """
        key = (team, deployment, index, symbol, model, hidden)
        with self._lock:
            if index is not None and (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        workspace = Workspace(self._data, team)
        config = config_of(workspace, load_deployment(workspace, deployment), self._bootstrap)
        if index is None:
            found = last_prediction(config, symbol, model, hidden)
        else:
            found = find_prediction(config, index, symbol, model, hidden)
        answer = self._recomputed(config, found)
        if answer["inputs"] is None:
            at = found.prediction.index
            raise UserError(
                f"the inputs at index {at} can't be computed again: a feature of {found.prediction.model!r} rejects "
                "the sample, so what the stream recorded is not what was predicted from"
            )
        made = Situation(
            found.prediction,
            unpacked(answer["inputs"]),
            answer["columns"],
            answer["digest"] == found.prediction.inputs_digest,
            answer["prediction"],
            answer["epoch"],
            answer["inputs"],
        )
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made

    def impact(self, team: str, situation: Situation, output: int | None = None) -> dict[str, Any]:
        """Return saliency and independence of columns and features (see `lit.serving.insight.impact`).

        Returns
        -------
        dict
            `output`; `columns` and `features`, each with `feature`, `column`, `saliency`, `alone`, `independence`, the
            most salient first; `base`, the background's mean prediction, and `prediction`; `method` and `coalitions`;
            `background`, which samples these were.
        """
        said = self._ask(team, situation, "impact", symbol=situation.prediction.symbol, output=output)
        found, game = said["impact"], said["impact"]["by_column"]
        tables = {
            kind: sorted(
                ({**situation.named(part), **part["effect"]} for part in found[kind]),
                key=lambda part: -abs(part["saliency"]),
            )
            for kind in ("columns", "features")
        }
        return {
            "output": found["output"],
            **{kind: [{k: v for k, v in part.items() if k != "effect"} for part in tables[kind]] for kind in tables},
            "base": game["nobody"],
            "prediction": game["everybody"],
            "method": game["method"],
            "coalitions": game["coalitions"],
            "background": said["background"],
        }

    def influences(self, team: str, situation: Situation, output: int | None = None) -> dict[str, Any]:
        """Return the most influential cells (see `lit.serving.insight.influences`): `cells`, `output`, `background`."""
        said = self._ask(team, situation, "influences", symbol=situation.prediction.symbol, output=output)
        cells = [{**situation.named(one["cell"]), **one} for one in said["cells"]]
        return {**said, "cells": [{k: v for k, v in one.items() if k != "cell"} for one in cells]}

    def what_if(
        self, team: str, situation: Situation, edits: Sequence[tuple[Cell, float]], output: int | None = None
    ) -> dict[str, Any]:
        """Return what the model says of edited inputs.

        Returns
        -------
        dict
            `prediction`, `original`, and the `difference` of their `output`; `edits` with `feature`, `row`, `column`,
            `before`, `after`, and what each does `alone`, the most influential first; `milliseconds` that it took.
        """
        began = time.perf_counter()
        changed = [(msgspec.to_builtins(cell), value) for cell, value in edits]
        said = self._ask(team, situation, "what_if", edits=changed, output=output)
        number = said["output"]
        told = [{**situation.named(one["cell"]), **one} for one in said["edits"]]
        return {
            **said,
            "edits": [{k: v for k, v in one.items() if k != "cell"} for one in told],
            "difference": said["prediction"][number] - said["original"][number],
            "milliseconds": (time.perf_counter() - began) * 1000,
        }

    def _ask(self, team: str, situation: Situation, question: str, **arguments: Any) -> dict[str, Any]:
        subject = self._subject(team, situation.prediction)
        return self.processes.ask(team, question, {"subject": subject, "inputs": situation.packed, **arguments})

    def _subject(self, team: str, prediction: Prediction) -> dict[str, str]:
        return {"data": str(self._data), "team": team, "model": prediction.model}

    def _recomputed(self, config: DeploymentConfig, found: Found) -> dict[str, Any]:
        reads = self.processes.ask(config.team, "reads", {"subject": self._subject(config.team, found.prediction)})
        bars_wanted, ticks_wanted = _BARS, _TICKS
        while True:
            bars, more = recorded_bars(config, found, reads["intervals"], bars_wanted)
            lacking = [text for text in reads["intervals"] if text not in bars]
            recorded = Recorded(found.prediction.symbol, bars, more=more)
            with tempfile.TemporaryDirectory() as folder:
                if lacking or reads["ticks"]:
                    by_time = all(Interval.parse(text).by_time for text in lacking)
                    count = ticks_wanted if by_time else None  # others hang together from the first tick on
                    recorded = recorded_ticks(config, found, recorded, lacking, count, Path(folder) / "ticks")
                answer = self._inputs(config.team, found, recorded)
            # Late ticks before those at hand could have changed bars made of them: the digest tells that none did.
            sure = not lacking or answer.get("digest") == found.prediction.inputs_digest
            if not recorded.more or (sure and not answer["short"]):
                return answer
            bars_wanted, ticks_wanted = bars_wanted * 8, ticks_wanted * 8

    def _inputs(self, team: str, found: Found, recorded: Recorded) -> dict[str, Any]:
        arguments = {"recorded": msgspec.to_builtins(recorded), "index": found.prediction.index}
        return self.processes.ask(team, "inputs", {"subject": self._subject(team, found.prediction), **arguments})
