"""The vault: epochs that were kept, annotated, compared, exported; deleted only when nothing uses them."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from lit.api.auth.roles import Principal, Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.routes.models import attachment
from lit.api.routes.runs import found_run
from lit.api.services import Services
from lit.api.training_schemas import Comparison, FeatureView, VaultDetail, VaultEdit, VaultKeep, VaultView
from lit.serving.onnx_model import write_onnx
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import trust, vault
from lit.trainer.asset import FeatureSpec
from lit.trainer.experiments import summary
from lit.trainer.export import export_item


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["vault"])

    @routes.get("/vault")
    @needs(Role.VIEWER)
    def items(team: str, tag: str | None = None) -> list[VaultView]:
        """Return the vault by name, or its items with a tag."""
        found = vault.items(services.workspace(team))
        return [VaultView(**_fields(services, team, item)) for item in found if tag is None or tag in item.tags]

    @routes.post("/vault", status_code=201)
    @needs(Role.EDITOR)
    def keep(team: str, body: VaultKeep) -> VaultDetail:
        """Keep an epoch of a run: a copy of its model, with metrics and lineage."""
        workspace = services.workspace(team)
        folder = found_run(workspace, body.project, body.run)
        epoch = body.epoch or summary(folder).best_epoch
        name = body.name or vault.default_name(body.project, body.run, epoch)
        if name in (item.name for item in vault.items(workspace)):
            raise ConflictError(f"vault item {name!r} exists: choose another name, or delete it first")
        vault.add(workspace, body.project, body.run, epoch, name)
        vault.edit(workspace, name, notes=body.notes, tags=body.tags)
        return _detail(services, team, name)

    @routes.get("/vault/{name}")
    @needs(Role.VIEWER)
    def item(team: str, name: str) -> VaultDetail:
        """Return an item with where it came from; its files are checked."""
        _exists(services.workspace(team), name)
        return _detail(services, team, name)

    @routes.patch("/vault/{name}")
    @needs(Role.EDITOR)
    def edit(team: str, name: str, body: VaultEdit) -> VaultDetail:
        """Replace an item's notes or tags."""
        workspace = services.workspace(team)
        _exists(workspace, name)
        vault.edit(workspace, name, notes=body.notes, tags=body.tags)
        return _detail(services, team, name)

    @routes.delete("/vault/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete(team: str, name: str) -> None:
        """Delete an item for good; refused while a deployment uses it."""
        workspace = services.workspace(team)
        _exists(workspace, name)
        try:
            vault.delete(workspace, name)
        except UserError as error:
            raise ConflictError(str(error)) from error

    @routes.get("/vault/{name}/compare")
    @needs(Role.VIEWER)
    def compare(team: str, name: str, with_: Annotated[list[str], Query(alias="with")]) -> Comparison:
        """Set items side by side: where they are from, metrics, and the settings that they differ in."""
        workspace = services.workspace(team)
        names = [name, *with_]
        for each in names:
            _exists(workspace, each)
        return Comparison(items=names, rows=vault.compare(workspace, names))

    @routes.get(
        "/vault/{name}/export",
        response_class=Response,
        responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    @needs(Role.VIEWER)
    def export(team: str, name: str, onnx: bool = False) -> Response:
        """Return a zip of a folder that predicts with Keras alone; with `onnx`, the model in that form too."""
        workspace = services.workspace(team)
        _exists(workspace, name)
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / name
            export_item(workspace, name, folder)
            if onnx:
                write_onnx(workspace, name, folder / "model.onnx")
            return attachment(_zipped(folder), "application/zip", f"{name}.zip")

    @routes.put("/vault/{name}/trust", status_code=204)
    @needs(Role.ADMIN)
    def allow(team: str, name: str, request: Request) -> None:
        """Allow this machine to run the code of an item's own layers, as its lineage shows it now."""
        workspace = services.workspace(team)
        _exists(workspace, name)
        principal: Principal = request.scope["lit.principal"]
        trust.trust(vault.load(workspace, name), by=principal.key)

    @routes.delete("/vault/{name}/trust", status_code=204)
    @needs(Role.ADMIN)
    def disallow(team: str, name: str) -> None:
        """Take that back."""
        workspace = services.workspace(team)
        _exists(workspace, name)
        trust.distrust(vault.load(workspace, name))

    return routes


def _exists(workspace: Workspace, name: str) -> None:
    if name not in (item.name for item in vault.items(workspace)):
        raise NotFoundError(f"the vault of team {workspace.team!r} has no item {name!r}")


def _detail(services: Services, team: str, name: str) -> VaultDetail:
    item = vault.load(Workspace(services.data, team), name)
    return VaultDetail(**_fields(services, team, item), lineage=item.lineage)


def _fields(services: Services, team: str, item: vault.VaultItem) -> dict[str, Any]:
    same = ("name", "project", "run", "epoch", "digest", "created", "metrics", "notes")
    return {
        **{name: getattr(item, name) for name in same},
        "tags": list(item.tags),
        "inputs": [_feature(spec) for spec in item.inputs],
        "label": _feature(item.label),
        "deployments": vault.deployments(Workspace(services.data, team), item.name),
        "trusted": trust.trusted(item),
    }


def _feature(spec: FeatureSpec) -> FeatureView:
    return FeatureView(name=spec.name, shape=list(spec.shape), columns=list(spec.columns))


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
    return content.getvalue()
