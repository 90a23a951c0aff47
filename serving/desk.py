"""The models of an output stream: those that its deployments name, kept open, ready to predict when asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lit.features.intervals import Interval
from lit.serving.config import serves
from lit.serving.latest import LatestStates
from lit.serving.opening import Deployment, load_deployment, open_model
from lit.serving.predictions import Inputs, Model, inputs_digest
from lit.streams.errors import LitError, UserError
from lit.streams.tick import iso
from lit.streams.workspace import Workspace
from lit.trainer import vault
from lit.trainer.backend import checked_device, load
from lit.trainer.vault import VaultItem

log = logging.getLogger(__name__)


class MissingModelError(UserError):
    """There is no such model."""


@dataclass(frozen=True)
class Opened:
    """A model of a deployment, open."""

    deployment: Deployment
    item: VaultItem
    model: Model
    latest: LatestStates | None

    @property
    def symbols(self) -> list[str]:
        """Symbols whose latest state it can predict from."""
        tickers = self.deployment.parameters.tickers
        return [symbol for symbol in (self.latest.symbols if self.latest else ()) if serves(tickers, symbol)]


@dataclass(frozen=True)
class Answer:
    """A prediction that was asked for; the last four are None for inputs that were given."""

    deployment: str
    model: str
    epoch: int
    prediction: list[float]
    inputs_digest: str
    symbol: str | None = None
    interval: str | None = None
    index: int | None = None
    bar_start: str | None = None


@dataclass
class Desk:
    """Predicts for whoever asks.

    Parameters
    ----------
    stream
        The output stream: the deployments on it are served.
    bootstrap
        Kafka's address.
    source
        Input stream whose symbols have a latest state; None: predictions from given inputs only.
    """

    workspace: Workspace
    stream: str
    bootstrap: str
    source: str | None = None
    opened: dict[tuple[str, str], Opened] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    _stamps: dict[Path, int] = field(default_factory=dict)
    _states: dict[tuple[Interval, tuple[Interval, ...], bool], LatestStates] = field(default_factory=dict)
    _device: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> bool:
        """Open and close models as the deployments' files say now; returns whether something changed."""
        stamps = {path: path.stat().st_mtime_ns for path in self.workspace.folder("preview").glob("*.json")}
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        opened: dict[tuple[str, str], Opened] = {}
        problems: dict[str, str] = {}
        for path in sorted(stamps):
            try:
                deployment = load_deployment(self.workspace, path.stem)
                if deployment.stream == self.stream:
                    for name in deployment.output.models:
                        opened[deployment.name, name] = self._open(deployment, name)
            except LitError as error:
                problems[path.stem] = str(error)
                log.error("deployment %s is not served: %s", path.stem, error)
        self.opened, self.problems = opened, problems
        log.info("%s serves %s", self.stream, ", ".join(f"{name} of {of}" for of, name in opened) or "no model yet")
        return True

    def _open(self, deployment: Deployment, name: str) -> Opened:
        self._take_device(deployment)
        item = vault.load(self.workspace, name)
        before = self.opened.get((deployment.name, name))
        same = before is not None and before.item.digest == item.digest
        model = before.model if before is not None and same else open_model(self.workspace, name)
        model.check()
        return Opened(deployment, item, model, self._latest(deployment, model))

    def _take_device(self, deployment: Deployment) -> None:
        """Compute on the deployment's device: the first one is the whole process's."""
        device = checked_device(deployment.output.device.lower())
        if self._device is None:
            load(device)
            self._device = device
        elif device != self._device:
            raise UserError(
                f"deployment {deployment.name!r} wants {device}, and what serves stream {self.stream!r} computes on "
                f"{self._device}: deploy it on a stream of its own, or start the stream anew"
            )

    def _latest(self, deployment: Deployment, model: Model) -> LatestStates | None:
        if self.source is None:
            return None
        interval = Interval.parse(deployment.parameters.interval)
        key = interval, tuple(sorted(model.reads.intervals)), model.reads.ticks
        if key not in self._states:
            self._states[key] = LatestStates(self.bootstrap, self.workspace.team, self.source, *key)
        return self._states[key]

    def find(self, model: str, deployment: str | None = None) -> Opened:
        """Return an open model by its name.

        Raises
        ------
        MissingModelError
            If there is none.
        UserError
            If several deployments have it and none is named.
        """
        found = [opened for (of, name), opened in self.opened.items() if name == model and deployment in (None, of)]
        if not found:
            known = ", ".join(sorted({name for _, name in self.opened})) or "none yet"
            where = f" of deployment {deployment!r}" if deployment else ""
            raise MissingModelError(f"there is no model {model!r}{where} (there are: {known})")
        if len(found) > 1:
            names = ", ".join(opened.deployment.name for opened in found)
            raise UserError(f"model {model!r} is in several deployments: name one of {names}")
        return found[0]

    def predict(self, opened: Opened, inputs: Mapping[str, Any]) -> Answer:
        """Predict from given inputs: feature name → nested lists of the feature's shape.

        Raises
        ------
        UserError
            If a feature is missing, unknown, or has another shape.
        """
        checked: Inputs = {}
        known = {spec.name: spec for spec in opened.item.inputs}
        if unknown := sorted(set(inputs) - set(known)):
            raise UserError(f"feature {unknown[0]!r} is unknown: the model takes {', '.join(known)}")
        for name, spec in known.items():
            if name not in inputs:
                raise UserError(f"feature {name!r} is missing: the model takes {', '.join(known)}")
            try:
                value = np.asarray(inputs[name], np.float32)
            except (TypeError, ValueError):
                raise UserError(f"feature {name!r} is no regular array of numbers of shape {spec.shape}") from None
            if value.shape != spec.shape:
                raise UserError(f"feature {name!r} has the shape {value.shape}, the model takes {spec.shape}")
            if not np.isfinite(value).all():
                raise UserError(f"feature {name!r} has a value that is not finite")
            checked[name] = value
        return self._answer(opened, checked)

    def predict_latest(self, opened: Opened, symbol: str) -> Answer:
        """Predict from a symbol's newest closed bar, as a deployment on the source stream would.

        Raises
        ------
        UserError
            If there is no source, no such symbol, the deployment does not serve it, or there is not enough history.
        """
        tickers = opened.deployment.parameters.tickers
        if not serves(tickers, symbol):
            raise UserError(f"deployment {opened.deployment.name!r} serves {', '.join(tickers)}, not {symbol!r}")
        if opened.latest is None:
            raise UserError(f"stream {self.stream!r} has no source: set its parameter, or give inputs")
        inputs, latest = opened.latest.inputs(opened.model, symbol)
        interval = str(Interval.parse(opened.deployment.parameters.interval))
        return self._answer(opened, inputs, symbol, interval, latest.index, iso(latest.start))

    def _answer(self, opened: Opened, inputs: Inputs, *of: Any) -> Answer:
        with self._lock:
            stacked = {name: value[None] for name, value in inputs.items()}
            output = np.asarray(opened.model.predictor.predict_many(stacked), np.float64).reshape(-1).tolist()
        digest = inputs_digest({spec.name: inputs[spec.name] for spec in opened.item.inputs})
        return Answer(opened.deployment.name, opened.model.name, opened.model.epoch, output, digest, *of)

    @property
    def problem(self) -> str | None:
        """What somebody should know: of a deployment that is not served, or of the source."""
        told = [*self.problems.values(), *(state.problem for state in self._states.values())]
        return next((one for one in told if one), None)

    def close(self) -> None:
        """End what follows streams."""
        for state in self._states.values():
            state.close()
