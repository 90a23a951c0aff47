"""Resumable uploads into `raw` by the tus protocol, version 1.0.0, as tus-js-client and Uppy speak it.

Core, creation, creation-with-upload, checksum, termination and expiration (https://tus.io/protocols/resumable-upload).
`Upload-Metadata` takes `filename` (or `relativePath`), and if it likes `sha256` of the whole file, `adapter` and
`parameters` (JSON): a finished upload is cached by itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lit.api.auth.roles import Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.services import Services
from lit.api.uploads import CHECKSUMS, LockedError, MismatchError, NoSpaceError, Upload, Uploads
from lit.streams import caching
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

VERSION = "1.0.0"
_HEADERS = {"Tus-Resumable": VERSION}
_BODY = "application/offset+octet-stream"
#: A request whose bytes do not come for so long is given up, so that its client can go on with another.
SILENCE_SECONDS = 60.0


class UploadView(BaseModel):
    """An upload under way: `offset` of `length` bytes are here."""

    id: str
    path: str
    length: int
    offset: int
    adapter: str
    created: float


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/uploads", tags=["files"])

    @routes.options("", status_code=204)
    @needs(Role.VIEWER)
    def options() -> Response:
        """Say what of tus is spoken here."""
        extensions = "creation,creation-with-upload,checksum,termination,expiration"
        offers = {"Tus-Version": VERSION, "Tus-Extension": extensions, "Tus-Checksum-Algorithm": ",".join(CHECKSUMS)}
        return Response(status_code=204, headers={**_HEADERS, **offers})

    @routes.get("")
    @needs(Role.VIEWER)
    def listed(team: str) -> list[UploadView]:
        """Return the uploads that are under way."""
        uploads = Uploads(services.workspace(team))
        return [_view(uploads, upload) for upload in uploads.all()]

    @routes.post("", status_code=201)
    @needs(Role.EDITOR)
    async def create(team: str, request: Request) -> Response:
        """Begin an upload; its address comes as `Location`."""
        _check_version(request)
        workspace = Workspace(services.data, team)
        uploads = Uploads(workspace)
        with _told():
            length = _number(request, "upload-length")
            upload = await run_in_threadpool(uploads.create, length, request.headers.get("upload-metadata", ""))
        if request.headers.get("content-type") == _BODY:
            await _take(services, workspace, uploads, upload, request, 0)
        headers = {"Location": f"/api/teams/{team}/uploads/{upload.id}", **_state(uploads, upload)}
        return Response(status_code=201, headers=headers)

    @routes.head("/{name}")
    @needs(Role.EDITOR)
    async def head(team: str, name: str, request: Request) -> Response:
        """Say how much of an upload is here."""
        _check_version(request)
        workspace = services.workspace(team)
        uploads = Uploads(workspace)
        with _told():
            upload = uploads.get(name)
        if not upload.done and uploads.offset(upload) == upload.length:  # killed between the last byte and the check
            with _told(), uploads.locked(upload):
                await _finish(services, workspace, uploads, upload)
        headers = {"Upload-Length": str(upload.length), "Upload-Metadata": upload.metadata, "Cache-Control": "no-store"}
        return Response(status_code=200, headers={**headers, **_state(uploads, upload)})

    @routes.patch("/{name}", status_code=204)
    @needs(Role.EDITOR)
    async def patch(team: str, name: str, request: Request) -> Response:
        """Append bytes at `Upload-Offset`; with the last one the file is checked and cached."""
        _check_version(request)
        if request.headers.get("content-type") != _BODY:
            raise HTTPException(415, f"the bytes of an upload come as {_BODY}", _HEADERS)
        workspace = services.workspace(team)
        uploads = Uploads(workspace)
        with _told():
            upload = uploads.get(name)
        await _take(services, workspace, uploads, upload, request, _number(request, "upload-offset"))
        return Response(status_code=204, headers=_state(uploads, uploads.get(name)))

    @routes.post("/{name}", status_code=204, include_in_schema=False)
    @needs(Role.EDITOR)
    async def overridden(team: str, name: str, request: Request) -> Response:
        """Take what some proxies do not let through, a PATCH or HEAD, under the name of POST."""
        wanted = {"PATCH": patch, "HEAD": head}.get(request.headers.get("x-http-method-override", ""))
        if wanted is None:
            raise HTTPException(405, "POST to an upload needs X-HTTP-Method-Override: PATCH or HEAD", _HEADERS)
        answer: Response = await wanted(team, name, request)
        return answer

    @routes.delete("/{name}", status_code=204)
    @needs(Role.EDITOR)
    def terminate(team: str, name: str, request: Request) -> Response:
        """Drop an upload that is not finished."""
        _check_version(request)
        uploads = Uploads(services.workspace(team))
        with _told():
            upload = uploads.get(name)
            with uploads.locked(upload):
                uploads.drop(upload)
        return Response(status_code=204, headers=_HEADERS)

    return routes


async def _take(
    services: Services, workspace: Workspace, uploads: Uploads, upload: Upload, request: Request, offset: int
) -> None:
    """Append a request's body, as far as it comes, and finish the upload with its last byte."""
    checksum = _checksum(request.headers.get("upload-checksum"))
    with _told(), uploads.locked(upload):
        here = uploads.offset(upload)
        if offset != here:
            raise HTTPException(
                409, f"Upload-Offset is {offset}, but {here} bytes are here: go on from there", _HEADERS
            )
        if upload.done:
            return
        with contextlib.suppress(ClientDisconnect, TimeoutError), uploads.writing(upload, checksum) as writer:
            async for chunk in _chunks(request):
                await run_in_threadpool(writer.write, chunk)
        if uploads.offset(upload) == upload.length:
            await _finish(services, workspace, uploads, upload)


async def _finish(services: Services, workspace: Workspace, uploads: Uploads, upload: Upload) -> None:
    target = await run_in_threadpool(uploads.finish, upload)
    await run_in_threadpool(caching.want, workspace, target, upload.adapter, upload.parameters)
    services.workers.wake()


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces of some size; ends with an error when the client goes or falls silent."""
    stream = aiter(request.stream())
    gathered = bytearray()
    while True:
        try:
            piece = await asyncio.wait_for(anext(stream), SILENCE_SECONDS)
        except StopAsyncIteration:
            break
        except (ClientDisconnect, TimeoutError):
            if gathered:
                yield bytes(gathered)
            raise
        gathered += piece
        if len(gathered) >= 1 << 20:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Give the protocol's codes to what goes wrong."""
    try:
        yield
    except LockedError as error:
        raise HTTPException(423, str(error), _HEADERS) from error
    except MismatchError as error:
        raise HTTPException(460, str(error), _HEADERS) from error
    except NoSpaceError as error:
        raise HTTPException(507, str(error), _HEADERS) from error
    except UserError as error:
        code = 404 if isinstance(error, NotFoundError) else 409 if isinstance(error, ConflictError) else 400
        raise HTTPException(code, str(error), _HEADERS) from error


def _check_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        raise HTTPException(412, f"send Tus-Resumable: {VERSION}", {"Tus-Version": VERSION})


def _number(request: Request, header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit():
        raise HTTPException(400, f"header {header.title()} is {text!r}: send a number of bytes", _HEADERS)
    return int(text)


def _checksum(header: str | None) -> tuple[str, bytes] | None:
    if header is None:
        return None
    name, _, value = header.partition(" ")
    if name not in CHECKSUMS:
        raise HTTPException(400, f"checksum {name!r} is unknown: use one of {', '.join(CHECKSUMS)}", _HEADERS)
    try:
        return name, base64.b64decode(value, validate=True)
    except binascii.Error:
        raise HTTPException(400, f"checksum {value!r} is not base64", _HEADERS) from None


def _state(uploads: Uploads, upload: Upload) -> dict[str, str]:
    found = {**_HEADERS, "Upload-Offset": str(uploads.offset(uploads.get(upload.id)))}
    return found if upload.done else {**found, "Upload-Expires": formatdate(uploads.expires(upload), usegmt=True)}


def _view(uploads: Uploads, upload: Upload) -> UploadView:
    return UploadView(
        id=upload.id,
        path=upload.path,
        length=upload.length,
        offset=uploads.offset(upload),
        adapter=upload.adapter,
        created=upload.created,
    )
