"""The tick store for other processes of this machine: the server alone has the embedded engine open."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from lit.api.auth.roles import Role, needs
from lit.streams.store import Stores
from lit.streams.store_http import pack, unpack
from lit.streams.store_http_ranges import answer

_MSGPACK = "application/vnd.msgpack"
#: Far above what a sink sends at once (250 thousand ticks), far below what hurts.
MAX_BODY = 256 * 1024 * 1024
MAX_WINDOW = 5_000_000


def router(stores: Stores) -> APIRouter:
    """Return the routes over the stores that this process has open."""
    routes = APIRouter(prefix="/api/internal/store/{team}", include_in_schema=False)

    @routes.post("/insert", status_code=204)
    @needs(Role.ADMIN)
    async def insert(team: str, source: str, partition: int, request: Request) -> None:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"an insert may have {MAX_BODY} bytes; send fewer blocks at once")
        try:
            blocks = unpack(bytes(body))
        except (ValueError, msgspec.MsgspecError) as error:
            raise HTTPException(400, f"the body is not packed tick blocks: {error}") from error
        await run_in_threadpool(stores.team(team).insert, source, partition, blocks)

    @routes.get("/applied")
    @needs(Role.ADMIN)
    def applied(team: str, source: str) -> dict[int, int]:
        return dict(stores.team(team).applied(source))

    @routes.get("/segments")
    @needs(Role.ADMIN)
    def segments(team: str, source: str, origin: str = "") -> Response:
        return _json(stores.team(team).segments(source, origin))

    @routes.get("/count")
    @needs(Role.ADMIN)
    def count(team: str, source: str, origin: str | None = None) -> int:
        return stores.team(team).count(source, origin)

    @routes.get("/window")
    @needs(Role.ADMIN)
    def window(
        team: str, source: str, symbol: str, first: Annotated[int, Query(ge=0)], last: int, origin: str = ""
    ) -> Response:
        if last - first > MAX_WINDOW:
            raise HTTPException(400, f"a window may have {MAX_WINDOW} ticks; ask for parts")
        block = stores.team(team).window(source, symbol, first, last, origin)
        return Response(b"".join(pack([(0, block)])), media_type=_MSGPACK)

    @routes.post("/ranges")
    @needs(Role.ADMIN)
    async def ranges(team: str, request: Request) -> Response:
        body = await request.body()
        try:
            found = await run_in_threadpool(answer, stores.team(team).ranges, body)
        except msgspec.MsgspecError as error:
            raise HTTPException(400, f"the body is no query of ranges: {error}") from error
        return Response(found, media_type="application/vnd.apache.arrow.stream")

    @routes.get("/index_at")
    @needs(Role.ADMIN)
    def index_at(team: str, source: str, symbol: str, timestamp: int, origin: str = "") -> int:
        return stores.team(team).index_at(source, symbol, timestamp, origin)

    @routes.delete("/ticks", status_code=204)
    @needs(Role.ADMIN)
    def delete(team: str, source: str, origin: str | None = None) -> None:
        stores.team(team).delete(source, origin)

    return routes


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
