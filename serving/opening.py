"""A deployment's file and its vault items, opened as what the deployment app runs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lit.features.feature import Feature
from lit.features.intervals import Interval
from lit.features.library import in_order_of_need
from lit.features.scripts import load_script
from lit.serving.alerts import Rules
from lit.serving.config import SHADOW, DeploymentConfig
from lit.serving.drift import reference_for
from lit.serving.predictions import Model
from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name, removal_of


class Output(msgspec.Struct, frozen=True):
    """Which models run, and where; `shadow` ones predict unseen by users."""

    device: str = "cpu"
    models: list[str] = []
    shadow: list[str] = []


class Parameters(msgspec.Struct, frozen=True):
    """What of the stream is served: tickers separated by commas, or (null) every symbol."""

    ticker: str | None = None
    interval: str = "1minute"

    @property
    def tickers(self) -> tuple[str, ...]:
        """The tickers, one by one."""
        return tuple(text.strip() for text in (self.ticker or "").split(",") if text.strip())


class Deployment(msgspec.Struct, frozen=True):
    """A deployment's file in `{team}/preview`; `alerts` as `lit.serving.alerts.Rules` has them."""

    name: str
    stream: str
    output: Output = Output()
    parameters: Parameters = Parameters()
    alerts: dict[str, Any] = {}

    def check(self) -> None:
        """Raise `UserError` if a field is unusable."""
        checked_name(self.name, "deployment")
        checked_name(self.stream, "stream")
        if self.name.endswith(SHADOW):
            raise UserError(f"deployment {self.name!r} ends as topics of shadow models do: choose another name")
        chosen = [*self.output.models, *self.output.shadow]
        for model in chosen:
            checked_name(model, "vault item")
        if twice := sorted({model for model in chosen if chosen.count(model) > 1}):
            raise UserError(f"deployment {self.name!r} names model {twice[0]!r} twice: once is enough")
        Interval.parse(self.parameters.interval)
        Rules.of(self.alerts)

    @property
    def revision(self) -> str:
        """A digest of all that a worker depends on: another one means another worker."""
        essence = (self.stream, self.output, self.parameters)
        return hashlib.sha256(msgspec.json.encode(essence)).hexdigest()[:12]


def deployment_path(workspace: Workspace, name: str) -> Path:
    """Return where a deployment is kept."""
    return workspace.folder("preview") / f"{checked_name(name, 'deployment')}.json"


def load_deployment(workspace: Workspace, name: str) -> Deployment:
    """Read a deployment's file.

    Raises
    ------
    UserError
        If there is none, or it is not one.
    """
    path = deployment_path(workspace, name)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise UserError(f"team {workspace.team!r} has no deployment {name!r} (there are: {known})")
    try:
        deployment = msgspec.json.decode(path.read_bytes(), type=Deployment)
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is not a deployment: {error}") from None
    deployment.check()
    return deployment


def save_deployment(workspace: Workspace, deployment: Deployment) -> Path:
    """Write a deployment's file at once: a reader sees the old one or the new one. It may hold a secret: owner only."""
    deployment.check()
    path = deployment_path(workspace, deployment.name)
    if not path.exists():
        workspace.check_topics("preview", deployment.name)
        _check_bars(removal_of(path), deployment)
    write_file(path, msgspec.json.format(msgspec.json.encode(deployment), indent=4), mode=0o600)
    removal_of(path).unlink(missing_ok=True)
    return path


def remove_deployment(workspace: Workspace, name: str) -> None:
    """Remove a deployment's file; what it predicted stays in its topics, which are of its bars for good.

    Raises
    ------
    UserError
        If there is none.
    """
    path = deployment_path(workspace, name)
    if not path.exists():
        load_deployment(workspace, name)  # says which there are
    with contextlib.suppress(UserError):  # a file that is none may go too
        write_file(removal_of(path), msgspec.json.encode(_Bars.of(load_deployment(workspace, name))))
    path.unlink()


class _Bars(msgspec.Struct, frozen=True):
    """What topics of predictions are of."""

    stream: str
    interval: str

    @classmethod
    def of(cls, deployment: Deployment) -> _Bars:
        return cls(deployment.stream, deployment.parameters.interval)


def _check_bars(removal: Path, deployment: Deployment) -> None:
    """Refuse the name of a deployment that was removed for other bars than it predicted at."""
    if not removal.exists():
        return
    before = msgspec.json.decode(removal.read_bytes(), type=_Bars)
    wanted = _Bars.of(deployment)
    if before != wanted:
        raise UserError(
            f"an earlier deployment {deployment.name!r} predicted at bars of {before.interval} of {before.stream!r}, "
            f"and its topics hold that: choose another name for bars of {wanted.interval} of {wanted.stream!r}"
        )


def config_of(workspace: Workspace, deployment: Deployment, bootstrap: str, replication: int = 1) -> DeploymentConfig:
    """Return the deployment app's configuration."""
    return DeploymentConfig(
        bootstrap,
        workspace.team,
        deployment.name,
        deployment.stream,
        Interval.parse(deployment.parameters.interval),
        deployment.parameters.tickers,
        replication,
    )


def open_models(workspace: Workspace, deployment: Deployment) -> list[Model]:
    """Open a deployment's models, shadow ones too, on its device."""
    from lit.trainer.backend import checked_device, load

    load(checked_device(deployment.output.device.lower()))
    single = len(deployment.parameters.tickers) == 1
    return [open_model(workspace, name, single) for name in deployment.output.models] + [
        dataclasses.replace(open_model(workspace, name, single), shadow=True) for name in deployment.output.shadow
    ]


def open_model(workspace: Workspace, name: str, single: bool = True) -> Model:
    """Open a vault item with the feature scripts that its dataset was built with.

    Parameters
    ----------
    single
        Whether each sample is computed alone, or many together (see `Predictor`): a deployment does one or the other,
        since a prediction's last bits depend on it.

    Raises
    ------
    UserError
        If there is no such item, its model is refused, or it does not say its features' sources.
    """
    from lit.serving.predictor import Predictor
    from lit.trainer import vault

    item = vault.load(workspace, name)
    frozen = item.lineage.get("asset", {}).get("schema", {}).get("features", {})
    if not isinstance(frozen, dict) or not set(item.features) <= set(frozen):
        raise UserError(f"vault item {name!r} does not hold the sources of its features: train it on a built asset")
    inputs = [_thaw(feature, frozen[feature]) for feature in item.features]
    label = _thaw(item.label.name, frozen[item.label.name]) if item.label.name in frozen else None
    reference = reference_for(workspace, item)
    predictor = Predictor.open(item)
    nothing = {spec.name: np.zeros((1, *spec.shape), np.float32) for spec in item.inputs}
    served: Any = _OneByOne(predictor) if single else predictor
    served.predict_many(nothing)  # the first call is slow: it shall not be that of a bar
    return Model(
        name,
        in_order_of_need(inputs),
        label,
        served,
        epoch=item.epoch,
        reference=reference,
    )


@dataclasses.dataclass(frozen=True)
class _OneByOne:
    """Computes samples alone, as `Predictor.predict` does."""

    predictor: Any

    def predict_many(self, inputs: Mapping[str, Any]) -> Any:
        """Return the outputs (n, columns) for n samples' inputs."""
        count = len(next(iter(inputs.values())))
        return np.stack([self.predictor.predict({k: v[row] for k, v in inputs.items()}) for row in range(count)])


def _thaw(name: str, frozen: dict[str, Any]) -> Feature:
    return Feature(name, load_script(Path(f"{frozen['script']}.py"), frozen["source"]), frozen["params"])
