"""The page that describes a REST API and tries it out: Swagger UI, its files out of an installed package.

Nothing is loaded from elsewhere, and no script stands in the page itself, so it works under `SECURITY_HEADERS`. A key
that a user gives stays in the memory of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

#: What every answer to a browser carries: a page loads from its own server alone, and nobody frames it.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_PACKAGE = "fastapi_swagger.resources"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="swagger/favicon-32x32.png">
<link rel="stylesheet" href="swagger/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="swagger/swagger-ui-bundle.js"></script>
<script src="swagger/start.js"></script>
</html>
"""
#: `validatorUrl`: else the page would tell a public service where it is.
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""


def swagger_router(path: str, title: str) -> APIRouter:
    """Return the routes of the page at a path; `openapi.json` beside it is what it shows."""
    router = APIRouter(include_in_schema=False)
    text = _PAGE.format(title=escape(title))

    @router.get(path)
    def page() -> HTMLResponse:
        return HTMLResponse(text)

    def add(name: str, kind: str, read: Callable[[str], str | bytes]) -> None:
        @router.get(f"{path.rpartition('/')[0]}/swagger/{name}")
        def file() -> Response:
            return Response(read(name), media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    add("start.js", "text/javascript", lambda _: _START)
    for name, kind in (
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("favicon-32x32.png", "image/png"),
    ):
        add(name, kind, _installed)
    return router


def _installed(name: str) -> bytes:
    """Read a file of the package when it is asked for: they are over a megabyte, and few servers are asked."""
    return files(_PACKAGE).joinpath(name).read_bytes()
