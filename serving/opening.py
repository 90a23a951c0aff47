"""A deployment's file and its vault items, opened as what the deployment app runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lit.features.feature import Feature
from lit.features.intervals import Interval
from lit.features.library import in_order_of_need
from lit.features.scripts import load_script
from lit.serving.deployment import DeploymentConfig
from lit.serving.predictions import Model
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


class Output(msgspec.Struct, frozen=True):
    """Which models run, and where."""

    device: str = "cpu"
    models: list[str] = []


class Parameters(msgspec.Struct, frozen=True):
    """What of the stream is served; no ticker: every symbol."""

    ticker: str | None = None
    interval: str = "1minute"


class Deployment(msgspec.Struct, frozen=True):
    """A deployment's file in `{team}/preview`."""

    name: str
    stream: str
    output: Output = Output()
    parameters: Parameters = Parameters()


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
    Interval.parse(deployment.parameters.interval)
    return deployment


def save_deployment(workspace: Workspace, deployment: Deployment) -> Path:
    """Write a deployment's file."""
    checked_name(deployment.stream, "stream")
    Interval.parse(deployment.parameters.interval)
    path = deployment_path(workspace, deployment.name)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(deployment), indent=4))
    return path


def config_of(workspace: Workspace, deployment: Deployment, bootstrap: str, replication: int = 1) -> DeploymentConfig:
    """Return the deployment app's configuration."""
    return DeploymentConfig(
        bootstrap,
        workspace.team,
        deployment.name,
        deployment.stream,
        Interval.parse(deployment.parameters.interval),
        deployment.parameters.ticker,
        replication,
    )


def open_model(workspace: Workspace, name: str) -> Model:
    """Open a vault item with the feature scripts that its dataset was built with.

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
    return Model(name, in_order_of_need(inputs), label, Predictor.open(item), epoch=item.epoch)


def _thaw(name: str, frozen: dict[str, Any]) -> Feature:
    return Feature(name, load_script(Path(f"{frozen['script']}.py"), frozen["source"]), frozen["params"])
