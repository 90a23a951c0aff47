"""The built page: static files and the fallback to `index.html` for paths that the page itself routes."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, PlainTextResponse, Response

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError

_NOT_BUILT = "The page is not built: run `make setup` (LIT_SKIP_UI unset). The API itself is at /api.\n"


def page_router(static: Path) -> APIRouter:
    """Return the routes that serve the page from its folder."""
    router = APIRouter(include_in_schema=False)
    root = static.resolve()

    @router.get("/{path:path}")
    @needs(Role.PUBLIC)
    def page(path: str) -> Response:
        if path == "api" or path.startswith("api/"):
            raise NotFoundError(f"there is no route /{path}")
        file = find_file(root, path)
        if file is None and "." in path.rsplit("/", 1)[-1]:
            raise NotFoundError(f"there is no file /{path}")
        if file is None or file.name == "index.html":
            index = root / "index.html"
            if not index.is_file():
                return PlainTextResponse(_NOT_BUILT, 503)
            return FileResponse(index, headers={"Cache-Control": "no-store"}, media_type="text/html")
        hashed = file.parent.name == "assets"
        cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return FileResponse(file, headers={"Cache-Control": cache}, media_type=kind)

    return router


def find_file(root: Path, path: str) -> Path | None:
    """Return the file that a path names, if it is inside the root after all links are followed."""
    if not path or "\0" in path:
        return None
    file = (root / path).resolve()
    return file if file.is_relative_to(root) and file.is_file() else None
