"""The WebSocket of a chart: snapshot first, then what happens, numbered, so that a client can come back."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect

from lit.api.auth.access import identify
from lit.api.auth.roles import Role, needs
from lit.api.live.channel import Client, encode
from lit.api.live.hub import Hub
from lit.api.live.view import StreamView
from lit.api.services import Services
from lit.features.intervals import Interval
from lit.streams.errors import LitError, UserError

#: Whether the caller still may watch is asked again after this time: keys are deleted, sessions end.
RECHECK_SECONDS = 15.0
#: Close codes: what was asked for does not exist; the caller may no longer watch; the server starts anew.
NOT_FOUND, NOT_ALLOWED, RESTART = 4404, 4401, 1012


def router(services: Services, hub: Hub) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/api/teams/{team}")

    @routes.websocket("/streams/{stream}/live")
    @needs(Role.VIEWER)
    async def live(
        websocket: WebSocket,
        team: str,
        stream: str,
        symbol: str = "",
        interval: str = "1minute",
        deployment: str | None = None,
        seq: Annotated[int | None, Query(ge=0)] = None,
        epoch: str | None = None,
    ) -> None:
        await websocket.accept()
        try:
            name = str(Interval.parse(interval))
            if not symbol:
                raise UserError("name a symbol: ?symbol=…")
            view = await hub.open_any(team, stream, symbol, name, deployment)
        except LitError as error:
            await websocket.send_text(encode(0, "error", detail=str(error)))
            await websocket.close(NOT_FOUND if error.exit_code == 2 else RESTART, str(error)[:100])
            return
        services.metrics.clients.inc()
        try:
            await _watch(services, websocket, view, (name, symbol, deployment), (seq, epoch))
        finally:
            services.metrics.clients.dec()

    return routes


async def _send(websocket: WebSocket, text: str) -> None:
    try:
        await websocket.send_text(text)
    except RuntimeError as error:  # the server has closed it: its client answered no ping
        raise WebSocketDisconnect(1006) from error


async def _watch(
    services: Services,
    websocket: WebSocket,
    view: StreamView,
    key: tuple[str, str, str | None],
    seen: tuple[int | None, str | None],
) -> None:
    channel, client = view.channel(key), Client()
    sending = client.send_all(
        channel, seen, lambda: view.snapshot(key), partial(_send, websocket), services.metrics.lagged.inc
    )
    tasks = {
        asyncio.create_task(sending): RESTART,
        asyncio.create_task(_gone(websocket)): None,
        asyncio.create_task(view.ended.wait()): RESTART,
        asyncio.create_task(_no_longer_allowed(websocket)): NOT_ALLOWED,
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        channel.clients.discard(client)
        channel.idle_since = time.monotonic()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for task, result in zip(tasks, results, strict=True):
        if task in done and isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
            raise result
    code = next((tasks[task] for task in done if tasks[task] is not None), None)
    if code is not None and not any(tasks[task] is None for task in done):
        await websocket.close(code)


async def _gone(websocket: WebSocket) -> None:
    """Return when the client has gone; what it says is ignored."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _no_longer_allowed(websocket: WebSocket) -> None:
    """Return when the caller may no longer watch."""
    team = websocket.path_params["team"]
    while True:
        await asyncio.sleep(RECHECK_SECONDS)
        principal = identify(websocket)
        if principal is None or not principal.may(Role.VIEWER, team):
            return
