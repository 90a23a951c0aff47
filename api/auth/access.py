"""The one dependency that all routes pass, and the check that none can avoid it.

What a caller may do is decided by the route that matched, never by the text of the path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, WebSocketException, status
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from lit.api.auth.keys import KeyStore
from lit.api.auth.roles import Principal, Role, declared
from lit.api.auth.session import COOKIE, read_session
from lit.streams.errors import FaultError

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


async def authorise(connection: HTTPConnection) -> None:
    """Let the caller pass to the matched route, or refuse."""
    role = declared(getattr(connection.scope.get("route"), "endpoint", None))
    if role is None:
        raise _refusal(connection, 403, "This route declares no role, so nobody may use it.")
    check_origin(connection)
    if role is Role.PUBLIC:
        return
    principal = identify(connection)
    if principal is None:
        raise _refusal(connection, 401, "Log in first: send `Authorization: Bearer <token>` or POST /api/login.")
    team = connection.path_params.get("team")
    if not principal.may(role, team):
        scope = f" in team {team!r}" if team else ""
        raise _refusal(connection, 403, f"This needs the role {role.name.lower()}{scope}.")
    connection.scope["lit.principal"] = principal


def identify(connection: HTTPConnection) -> Principal | None:
    """Return who calls, by bearer token or else by session cookie."""
    keys: KeyStore = connection.app.state.keys
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return keys.authenticate(token.strip())
    key_id = read_session(connection.cookies.get(COOKIE, ""), keys.session_secret)
    return None if key_id is None else keys.principal(key_id)


def check_origin(connection: HTTPConnection) -> None:
    """Refuse what a page of another origin sends: WebSockets, and requests that change something.

    Programs send no Origin and come with a bearer token. A browser's cookie counts only with our own Origin.
    """
    websocket = connection.scope["type"] == "websocket"
    if not websocket and connection.scope["method"] in _SAFE_METHODS:
        return
    origin = connection.headers.get("origin")
    if origin is None:
        if COOKIE in connection.cookies and "authorization" not in connection.headers:
            raise _refusal(connection, 403, "A request with a session cookie needs an Origin header.")
        return
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or parts.netloc != connection.headers.get("host"):
        raise _refusal(connection, 403, f"Origin {origin!r} is not this server's.")


def check_routes(routes: Iterable[BaseRoute]) -> None:
    """Fail unless every route declares its role and passes `authorise`.

    Raises
    ------
    FaultError
        Naming the routes at fault.
    """
    at_fault = []
    for route in walk(routes):
        path = getattr(route, "path", repr(route))
        if not isinstance(route, APIRoute | APIWebSocketRoute):
            at_fault.append(f"{path} ({type(route).__name__} has no dependencies)")
        elif declared(route.endpoint) is None:
            at_fault.append(f"{path} (no role declared)")
    if at_fault:
        raise FaultError("The server does not start: routes without access control: " + "; ".join(at_fault))


def walk(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield all routes, those of included routers too."""
    for route in routes:
        included: Any = getattr(route, "original_router", None)
        if included is None:
            yield route
        else:
            yield from walk(included.routes)


def _refusal(connection: HTTPConnection, code: int, reason: str) -> Exception:
    if connection.scope["type"] == "websocket":
        return WebSocketException(status.WS_1008_POLICY_VIOLATION, reason)
    headers = {"WWW-Authenticate": "Bearer"} if code == 401 else None
    return HTTPException(code, reason, headers)
