"""The application: every router behind the one access check, then the page for all other paths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from lit.api.auth.access import authorise, check_routes
from lit.api.auth.roles import Role, declare
from lit.api.errors import add_handlers
from lit.api.lags import Lags
from lit.api.live.hub import Hub
from lit.api.monitor import Monitor
from lit.api.page import page_router
from lit.api.record_schemas import record_schemas
from lit.api.routes import (
    account,
    adapters,
    assets,
    builds,
    definitions,
    deployments,
    discovery,
    features,
    files,
    insights,
    keys,
    live,
    models,
    projects,
    records,
    runs,
    store,
    sweeps,
    system,
    uploads,
    vault,
)
from lit.api.schemas import Problem
from lit.api.services import Services
from lit.serving.insights import Insights
from lit.serving.swagger import swagger_router
from lit.trainer.inspector import Inspector


class Application(FastAPI):
    """FastAPI, whose document knows our records too."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            found = super().openapi()
            found["components"]["schemas"].update(record_schemas())
            found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"token": []}]
        return super().openapi()


def create_app(services: Services) -> FastAPI:
    """Return the application over a server's parts.

    Raises
    ------
    FaultError
        If a route declares no role.
    """
    hub = Hub(services)
    services.live_symbols = hub.symbols
    inspector = Inspector()
    explainer = Insights(services.config.data, services.config.bootstrap)
    monitor = Monitor(services)
    services.metrics.follow(Lags(services.data, monitor))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        monitor.start()
        yield
        await hub.close()
        await run_in_threadpool(monitor.stop)
        inspector.close()
        explainer.close()

    app = Application(
        title="LIT",
        version=version("lit"),
        dependencies=[Depends(authorise)],
        responses={"default": {"model": Problem, "description": "An error"}},
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.keys = services.keys
    add_handlers(app)
    docs = swagger_router("/api/docs", "LIT: REST API")
    declare(docs.routes, Role.VIEWER)
    for router in (
        account.router(services.keys),
        keys.router(services.keys),
        system.router(services),
        definitions.router(services),
        deployments.router(services, monitor),
        features.router(services),
        insights.router(services, explainer),
        records.router(services, hub),
        assets.router(services),
        live.router(services, hub),
        files.router(services),
        uploads.router(services),
        projects.router(services),
        adapters.router(services),
        builds.router(services),
        store.router(services.stores),
        discovery.router(services),
        models.router(services, inspector),
        runs.router(services),
        sweeps.router(services),
        vault.router(services),
        docs,
        page_router(services.config.static),  # takes whatever path is left
    ):
        app.include_router(router)
    check_routes(app.routes)
    return app
