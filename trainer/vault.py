"""The vault: epochs that were chosen to stay, each a folder with its model and where it came from."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lit.streams.errors import FaultError, UserError
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace, checked_name
from lit.trainer.asset import FeatureSpec
from lit.trainer.runfolder import RunFolder


@dataclass(frozen=True, slots=True)
class VaultItem:
    """A kept epoch.

    Attributes
    ----------
    inputs : tuple of FeatureSpec
        What the model takes, in its order.
    label : FeatureSpec
        What it predicts.
    digest : str
        `sha256:…` of the model file.
    files : dict of str to str
        Digests of the other model files, by name: `model.keras`.
    own_layers : tuple of str
        Layer classes that are a team's own or run code: such a model needs `lit.trainer.trust`.
    code : str
        `sha256:…` of canvas and component sources.
    lineage : dict
        Asset digest, schema (files, features), canvas and component sources.
    """

    name: str
    path: Path
    project: str
    run: int
    epoch: int
    digest: str
    inputs: tuple[FeatureSpec, ...]
    label: FeatureSpec
    created: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    notes: str = ""
    tags: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    own_layers: tuple[str, ...] = ()
    code: str = ""
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.h5"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the model takes, in its order."""
        return tuple(spec.name for spec in self.inputs)


def add(workspace: Workspace, project: str, run: int, epoch: int, name: str | None = None) -> VaultItem:
    """Copy an epoch's model and its lineage into the vault.

    Raises
    ------
    UserError
        If run or epoch does not exist, its model was not kept, or the name is taken.
    """
    folder = RunFolder.find(workspace, project, run)
    source = folder.model(epoch)
    row = next((row for row in folder.perf() if row["epoch"] == epoch), None)
    if row is None or not source.is_file():
        raise UserError(f"run {folder.name} has no model of epoch {epoch}: it has {folder.model_epochs()}")
    name = checked_name(name or default_name(project, run, epoch), "vault item")
    root = workspace.folder("vault")
    if (root / name).exists():
        raise UserError(f"vault item {name!r} exists: choose another name, or delete it first")
    draft = root / f".draft.{name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    shutil.copyfile(source, draft / "model.h5")
    if (other := folder.model(epoch, "keras")).is_file():
        shutil.copyfile(other, draft / "model.keras")
    described, definition = folder.read_json("features.json"), folder.read_json("definition.json")
    lineage = {"asset": described["asset"], **definition}
    record = {
        "project": project,
        "run": run,
        "epoch": epoch,
        "digest": file_digest(draft / "model.h5"),
        "created": iso_ms(time.time_ns()),
        "inputs": described["inputs"],
        "label": described["label"],
        "metrics": row,
        "notes": "",
        "tags": [],
        "files": {path.name: file_digest(path) for path in draft.glob("*.keras")},
        "own_layers": described.get("own_layers", []),
        "code": code_digest(lineage),
        "lineage": lineage,
    }
    _write(draft / "item.json", record)
    draft.replace(root / name)
    return load(workspace, name)


def default_name(project: str, run: int, epoch: int) -> str:
    """Return the name of an item that nobody named."""
    return f"{project} {run} {epoch}"


def load(workspace: Workspace, name: str) -> VaultItem:
    """Return a vault item, its model file checked against its digest.

    Raises
    ------
    UserError
        If there is no such item.
    FaultError
        If the model file is not the one that was put there.
    """
    path = workspace.path("vault", name)
    if not (path / "item.json").is_file():
        known = ", ".join(item.name for item in items(workspace)) or "none"
        raise UserError(f"vault item {name!r} does not exist: there are {known}")
    item = _read(path)
    digests = {"model.h5": item.digest, **item.files}
    if any(file_digest(path / file) != digest for file, digest in digests.items() if (path / file).is_file()):
        raise FaultError(f"the model file of vault item {name!r} has changed since it was put there: do not use it")
    return item


def items(workspace: Workspace) -> list[VaultItem]:
    """List the vault by name."""
    return [_read(path.parent) for path in sorted(workspace.path("vault").glob("[!.]*/item.json"))]


def edit(workspace: Workspace, name: str, *, notes: str | None = None, tags: Sequence[str] | None = None) -> VaultItem:
    """Replace an item's notes or tags; what is not given stays.

    Raises
    ------
    UserError
        If there is no such item, or a tag is not usable.
    """
    path = load(workspace, name).path / "item.json"
    record = json.loads(path.read_text("utf-8"))
    if notes is not None:
        record["notes"] = notes
    if tags is not None:
        record["tags"] = list(dict.fromkeys(checked_name(tag, "tag") for tag in tags))
    _write(path, record)
    return load(workspace, name)


def delete(workspace: Workspace, name: str) -> None:
    """Delete an item for good.

    Raises
    ------
    UserError
        If there is no such item, or a deployment uses it.
    """
    path = workspace.path("vault", name)
    if not (path / "item.json").is_file():
        load(workspace, name)
    if used := deployments(workspace, name):
        raise UserError(f"vault item {name!r} is used by deployment {', '.join(used)}: delete that first")
    gone = path.with_name(f".deleted.{name}")
    shutil.rmtree(gone, ignore_errors=True)
    path.replace(gone)  # at once gone for readers, whatever happens to the files
    shutil.rmtree(gone)


def deployments(workspace: Workspace, name: str) -> list[str]:
    """List the team's deployments that use an item, by name."""
    found = []
    for path in sorted(workspace.path("preview").glob("*.json")):
        try:
            output = json.loads(path.read_text("utf-8"))["output"]
            models = [*output.get("models", []), *output.get("shadow", [])]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a damaged deployment uses nothing; its own screen says so
        names = [model.get("name") if isinstance(model, dict) else model for model in models]
        if name in names:
            found.append(path.stem)
    return found


def kept_epochs_of(workspace: Workspace) -> dict[str, dict[int, list[str]]]:
    """Return by run (`project/number`) which of its epochs are in the vault, and under which names."""
    found: dict[str, dict[int, list[str]]] = {}
    for item in items(workspace):
        found.setdefault(f"{item.project}/{item.run}", {}).setdefault(item.epoch, []).append(item.name)
    return found


def compare(workspace: Workspace, names: Sequence[str]) -> dict[str, list[Any]]:
    """Set items side by side: where they are from, all metrics, and each node's properties that they differ in.

    Returns
    -------
    dict
        Row's name → a value for each item; None where an item has none.
    """
    chosen = [load(workspace, name) for name in names]
    rows: dict[str, list[Any]] = {
        "run": [f"{item.project}/{item.run}" for item in chosen],
        "epoch": [item.epoch for item in chosen],
        "asset": [item.lineage.get("asset", {}).get("digest") for item in chosen],
    }
    for name in dict.fromkeys(name for item in chosen for name in item.metrics if name != "epoch"):
        rows[name] = [item.metrics.get(name) for item in chosen]
    settings = [_settings(item) for item in chosen]
    for name in dict.fromkeys(name for each in settings for name in each):
        values = [each.get(name) for each in settings]
        if any(value != values[0] for value in values):
            rows[name] = values
    return rows


def file_digest(path: Path) -> str:
    """Return `sha256:…` of a file."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def code_digest(lineage: Mapping[str, Any]) -> str:
    """Return `sha256:…` of the canvas and component sources of a lineage; empty for a program's."""
    if "canvas" not in lineage:
        return ""
    text = json.dumps([lineage["canvas"], lineage["components"]], sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _write(path: Path, record: dict[str, Any]) -> None:
    draft = path.with_name(f".draft.{path.name}")
    draft.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)


def _settings(item: VaultItem) -> dict[str, Any]:
    """Return `node.property` → value of an item's canvas, or a program's parameters."""
    nodes = item.lineage.get("canvas", {}).get("nodes", [])
    found = {f"{node['id']}.{name}": value for node in nodes for name, value in node.get("properties", {}).items()}
    found |= {f"{node['id']}.component": node["component"] for node in nodes}
    return found | dict(item.lineage.get("parameters", {}))


def _read(path: Path) -> VaultItem:
    record = json.loads((path / "item.json").read_text("utf-8"))
    record["inputs"] = tuple(_spec(data) for data in record["inputs"])
    record["label"] = _spec(record["label"])
    record["tags"], record["own_layers"] = tuple(record["tags"]), tuple(record.get("own_layers", ()))
    return VaultItem(name=path.name, path=path, **record)


def _spec(data: dict[str, Any]) -> FeatureSpec:
    return FeatureSpec(data["name"], tuple(data["shape"]), tuple(data["columns"]))
