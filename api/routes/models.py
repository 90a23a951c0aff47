"""Canvases and components: the designs of models, checked and described before anything is trained."""

from __future__ import annotations

from dataclasses import asdict

import msgspec
from fastapi import APIRouter, Response

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.services import Services
from lit.api.training_schemas import CanvasFile, CanvasReport, CanvasView, ComponentSource, ComponentView
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace
from lit.trainer import canvas as designs
from lit.trainer import component as components
from lit.trainer.asset import Asset, asset_path
from lit.trainer.inspector import Inspector
from lit.trainer.script import as_script


def router(services: Services, inspector: Inspector) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["models"])

    @routes.get("/canvases")
    @needs(Role.VIEWER)
    def canvases(team: str) -> list[CanvasView]:
        """Return the team's canvases by name."""
        workspace = services.workspace(team)
        return [_canvas_view(workspace, name) for name in designs.canvases(workspace)]

    @routes.get("/canvases/{name}")
    @needs(Role.VIEWER)
    def canvas(team: str, name: str) -> CanvasFile:
        """Return a canvas."""
        return CanvasFile.model_validate(msgspec.to_builtins(found_canvas(services.workspace(team), name)))

    @routes.put("/canvases/{name}")
    @needs(Role.EDITOR)
    def put_canvas(team: str, name: str, body: CanvasFile) -> CanvasFile:
        """Save a canvas, finished or not."""
        if body.name != name:
            raise UserError(f"the body names the canvas {body.name!r}, the path {name!r}: make them the same")
        designs.save_canvas(Workspace(services.data, team), designs.parse_canvas(body.model_dump()))
        return body

    @routes.delete("/canvases/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_canvas(team: str, name: str) -> None:
        """Delete a canvas; runs keep the design that they were trained with."""
        workspace = services.workspace(team)
        found_canvas(workspace, name)
        designs.delete_canvas(workspace, name)

    @routes.post("/canvases/check")
    @needs(Role.EDITOR)
    def check(team: str, body: CanvasFile) -> CanvasReport:
        """Say what is wrong with a canvas as it is, or what each node becomes: shape and number of weights."""
        return _report(inspector, services.workspace(team), designs.parse_canvas(body.model_dump()))

    @routes.get("/canvases/{name}/check")
    @needs(Role.EDITOR)
    def check_saved(team: str, name: str) -> CanvasReport:
        """Say the same of a saved canvas."""
        workspace = services.workspace(team)
        return _report(inspector, workspace, found_canvas(workspace, name))

    @routes.get(
        "/canvases/{name}/script",
        response_class=Response,
        responses={200: {"content": {"text/x-python": {"schema": {"type": "string"}}}}},
    )
    @needs(Role.VIEWER)
    def script(team: str, name: str) -> Response:
        """Return a program that builds the canvas' model with Keras alone."""
        workspace = services.workspace(team)
        design = found_canvas(workspace, name)
        with Asset(asset_path(workspace, str(design.settings.get("asset") or ""))[0]) as part:
            text = as_script(design, components.load_components(workspace), part.features)
        return attachment(text.encode(), "text/x-python", f"{name}.py")

    @routes.get("/components")
    @needs(Role.VIEWER)
    def all_components(team: str) -> list[ComponentView]:
        """Return the forms of the team's components, broken ones too."""
        found = components.load_components(services.workspace(team))
        return [_component_view(item) for item in found.values()]

    @routes.get("/components/{name}")
    @needs(Role.VIEWER)
    def component(team: str, name: str) -> ComponentView:
        """Return a component with its source."""
        return _component_view(_found_component(services.workspace(team), name), source=True)

    @routes.put("/components/{name}")
    @needs(Role.EDITOR)
    def put_component(team: str, name: str, body: ComponentSource) -> ComponentView:
        """Save a component; a broken one is kept too, and says so in `error`."""
        workspace = services.workspace(team)
        return _component_view(components.save_component(workspace, name, body.source), source=True)

    @routes.delete("/components/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_component(team: str, name: str) -> None:
        """Delete a component of the team's own; of a shipped one, the team's changes."""
        workspace = services.workspace(team)
        _found_component(workspace, name)
        components.delete_component(workspace, name)

    return routes


def found_canvas(workspace: Workspace, name: str) -> designs.Canvas:
    """Return a canvas, or raise `NotFoundError`."""
    if name not in designs.canvases(workspace):
        raise NotFoundError(f"team {workspace.team!r} has no canvas {name!r}")
    return designs.load_canvas(workspace, name)


def attachment(content: bytes, media_type: str, name: str) -> Response:
    """Return a file to be saved under a (checked) name."""
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _found_component(workspace: Workspace, name: str) -> components.Component:
    found = components.load_components(workspace)
    if name not in found:
        raise NotFoundError(f"team {workspace.team!r} has no component {name!r}")
    return found[name]


def _canvas_view(workspace: Workspace, name: str) -> CanvasView:
    try:
        found = designs.load_canvas(workspace, name)
    except UserError as error:
        return CanvasView(name=name, project=None, asset=None, nodes=0, error=str(error))
    settings = {key: str(value) for key, value in found.settings.items() if value}
    return CanvasView(
        name=name, project=settings.get("project"), asset=settings.get("asset"), nodes=len(found.nodes), error=""
    )


def _report(inspector: Inspector, workspace: Workspace, design: designs.Canvas) -> CanvasReport:
    found = asdict(inspector.inspect(workspace, design))
    found["problems"] = [{"node": p.node, "message": p.message} for p in found["problems"]]
    return CanvasReport.model_validate(found)


def _component_view(item: components.Component, source: bool = False) -> ComponentView:
    shipped = {path.stem for path in components.shipped_files()}
    form = {**item.form(), "shipped": item.name in shipped, "source": item.source if source else None}
    return ComponentView.model_validate(form)
