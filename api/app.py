"""The application: every router behind the one access check, then the page for all other paths."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, Protocol

from fastapi import Depends, FastAPI

from lit.api.auth.access import authorise, check_routes
from lit.api.errors import add_handlers
from lit.api.page import page_router
from lit.api.routes import account, definitions, store, system
from lit.api.services import Services


class Lifespan(Protocol):
    """What begins and ends with the server's event loop."""

    def __call__(self, app: FastAPI) -> AbstractAsyncContextManager[Any]:
        """Return the context that the server runs in."""


def create_app(services: Services, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the application over a server's parts.

    Raises
    ------
    FaultError
        If a route declares no role.
    """
    app = FastAPI(
        title="LIT",
        version=version("lit"),
        dependencies=[Depends(authorise)],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.keys = services.keys
    add_handlers(app)
    for router in (
        account.router(services.keys),
        system.router(services),
        definitions.router(services),
        store.router(services.stores),
        page_router(services.config.static),  # takes whatever path is left
    ):
        app.include_router(router)
    check_routes(app.routes)
    return app
