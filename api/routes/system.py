"""The server itself: health, what runs, teams, topics, metrics, its documents."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from lit.api.auth.roles import Principal, Role, needs
from lit.api.schemas import BrokerStatus, Health, Status, StoreStatus, Topic, Worker
from lit.api.services import Services
from lit.streams.asyncapi import document
from lit.streams.catalogue import catalogue


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api", tags=["system"])
    release = version("lit")

    @routes.get("/health")
    @needs(Role.PUBLIC)
    async def health() -> Health:
        """Say that the server answers."""
        return Health(status="ok", version=release)

    @routes.get("/status")
    @needs(Role.VIEWER)
    def status(request: Request) -> Status:
        """Return what runs: the broker, the store, and the workers of the teams that the caller may see."""
        workers = [
            Worker(**msgspec.structs.asdict(worker))
            for worker in services.workers.statuses()
            if _sees(request, worker.name.partition("/")[0])
        ]
        broker = BrokerStatus(bootstrap=services.config.bootstrap, reachable=services.broker.reachable())
        return Status(broker=broker, store=StoreStatus(engine=type(services.stores).__name__), workers=workers)

    @routes.get("/teams")
    @needs(Role.VIEWER)
    def teams(request: Request) -> list[str]:
        """Return the teams that the caller may see."""
        return [team for team in services.teams() if _sees(request, team)]

    @routes.get("/topics")
    @needs(Role.VIEWER)
    def topics(request: Request) -> list[Topic]:
        """Return the topics of the teams that the caller may see."""
        entries = catalogue(services.config.bootstrap)
        return [Topic(**asdict(entry)) for entry in entries if _sees(request, entry.team)]

    @routes.get("/asyncapi.json")
    @needs(Role.VIEWER)
    def asyncapi() -> dict[str, Any]:
        """Return the AsyncAPI document of all topics."""
        return document(services.config.bootstrap, release)

    @routes.get("/openapi.json", include_in_schema=False)
    @needs(Role.VIEWER)
    def openapi(request: Request) -> dict[str, Any]:
        """Return the OpenAPI document."""
        found: dict[str, Any] = request.app.openapi()
        return found

    @routes.get("/metrics")
    @needs(Role.VIEWER)
    def metrics() -> Response:
        """Return what Prometheus reads."""
        for worker in services.workers.statuses():
            services.metrics.restarts.labels(worker.name).set(worker.restarts)
            services.metrics.up.labels(worker.name).set(worker.status == "running")
        return Response(services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _sees(request: Request, team: str) -> bool:
    principal: Principal = request.scope["lit.principal"]
    return principal.may(Role.VIEWER, team)
