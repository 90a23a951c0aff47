"""Around every request: an id, security headers, one log line, metrics."""

from __future__ import annotations

import logging
import re
import secrets
import time

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lit.api.metrics import Metrics
from lit.serving.swagger import SECURITY_HEADERS

log = logging.getLogger("lit.api.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Observed:
    """Wraps the application; pure ASGI, so that streams and WebSockets pass untouched."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        begin, code = time.perf_counter(), 500 if scope["type"] == "http" else 101

        async def observed(message: Message) -> None:
            nonlocal code
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                code = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api"):
                    headers.setdefault("Cache-Control", "no-store")
            elif message["type"] == "websocket.close" and code == 101:
                code = message.get("code", 1000)
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            self._record(scope, code, time.perf_counter() - begin, request_id)

    def _record(self, scope: Scope, code: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope.get("method", "WS")
        self._metrics.requests.labels(method, route, str(code)).inc()
        if method != "WS":
            self._metrics.seconds.labels(route).observe(seconds)
        principal = scope.get("lit.principal")
        line = {
            "event": "request",
            "method": method,
            "path": scope["path"],  # without the query: it may hold a token
            "status": code,
            "ms": round(seconds * 1e3, 2),
            "key": principal.key if principal else None,
            "request_id": request_id,
        }
        log.info(msgspec.json.encode(line).decode())
