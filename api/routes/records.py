"""Bars, ticks, predictions and scores as they are now; live they come over the WebSocket."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.live.hub import Hub
from lit.api.live.view import SHOWN, Said
from lit.api.record_schemas import Bars, Predictions, Scores, answers
from lit.api.schemas import DeploymentFile, Packet
from lit.api.services import Services
from lit.features.intervals import Interval
from lit.serving.score_summary import Summary
from lit.streams.errors import UserError
from lit.streams.tick import TickBlock, iso

#: Ticks of one answer: what a bar may hold, for a look at it.
MAX_TICKS = 10_000
ARROW = "application/vnd.apache.arrow.stream"

Limit = Annotated[int, Query(ge=1, le=5000)]
Before = Annotated[int | None, Query(ge=0)]


@dataclass(frozen=True)
class Wanted:
    """Which of a deployment's predictions or scores."""

    symbol: str | None = None
    limit: Limit = SHOWN
    before: Before = None
    before_index: Before = None


Of = Annotated[Wanted, Depends()]


def router(services: Services, hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["records"])

    @routes.get("/streams/{stream}/bars", responses=answers(Bars))
    @needs(Role.VIEWER)
    async def bars(
        team: str,
        stream: str,
        symbol: str,
        interval: str = "1minute",
        limit: Limit = SHOWN,
        before: Before = None,
    ) -> Response:
        """Return closed bars, oldest first: the newest, or those before an ordinal.

        Of an interval that the stream does not publish they are computed from its stored ticks.
        """
        wanted = Interval.parse(interval)
        if await run_in_threadpool(services.publishes, team, stream, str(wanted)):
            view = await hub.open(team, stream, str(wanted))
            kept = list(view.bars.get((str(wanted), symbol), ()))
        else:
            kept, _ = await run_in_threadpool(hub.stored.read, team, stream, symbol, wanted)
        found = [bar for bar in kept if before is None or bar.ordinal < before]
        return _json(Bars(found[-limit:]))

    @routes.get(
        "/streams/{stream}/ticks",
        responses={
            200: {"model": list[Packet], "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}}}
        },
    )
    @needs(Role.VIEWER)
    async def ticks(
        team: str,
        stream: str,
        symbol: str,
        first: Annotated[int, Query(ge=0)],
        last: Annotated[int, Query(ge=0)],
        request: Request,
    ) -> Response:
        """Return ticks first…last, both included, as packets or (by Accept) as an Arrow stream."""
        if last - first >= MAX_TICKS:
            raise UserError(f"{last - first + 1} ticks are asked for: at most {MAX_TICKS} at once")
        store = services.stores.team(team)
        block = await run_in_threadpool(store.window, stream, symbol, first, last + 1)
        if not len(block):
            await run_in_threadpool(services.existing, team, stream)
        if ARROW in request.headers.get("accept", ""):
            return Response(_arrow(block), media_type=ARROW)
        return _json(await run_in_threadpool(_packets, block))

    @routes.get("/deployments/{name}/predictions", responses=answers(Predictions))
    @needs(Role.VIEWER)
    async def predictions(team: str, name: str, of: Of) -> Response:
        """Return predictions, oldest first: the newest, or of a symbol those at bars before an ordinal or a tick."""
        view = await hub.open(team, await _stream_of(services, team, name), None, name)
        return _json(Predictions(_last(view.predictions, name, of)))

    @routes.get("/deployments/{name}/scores", responses=answers(Scores))
    @needs(Role.VIEWER)
    async def scores(team: str, name: str, of: Of) -> Response:
        """Return scores as predictions are, and how each model has done on each symbol and on all."""
        view = await hub.open(team, await _stream_of(services, team, name), None, name)
        book = view.books.get(name)
        summaries: list[Summary] = book.summaries() if book else []
        summary = [one for one in summaries if of.symbol in (None, one.symbol)]
        return _json(Scores(_last(view.scores, name, of), summary))

    return routes


def _last(kept: Mapping[tuple[str, str], Iterable[Said]], deployment: str, of: Wanted) -> list[Said]:
    """Return the last of what a deployment said: of a symbol by its bars, of all symbols by when it was said."""
    if of.symbol is not None:
        most, until = (math.inf if bound is None else bound for bound in (of.before, of.before_index))
        said = [item for item in kept.get((deployment, of.symbol), ()) if item.ordinal < most and item.index < until]
        return sorted(said, key=lambda item: item.ordinal)[-of.limit :]
    if of.before is not None or of.before_index is not None:
        raise UserError("`before` and `before_index` are of a symbol's bars and ticks: name the symbol too")
    said = [item for (name, _), items in kept.items() if name == deployment for item in items]
    return sorted(said, key=lambda item: item.published_at)[-of.limit :]


async def _stream_of(services: Services, team: str, deployment: str) -> str:
    found: dict[str, DeploymentFile] = await run_in_threadpool(services.deployments, team)
    if deployment not in found:
        raise NotFoundError(f"team {team!r} has no deployment {deployment!r}")
    return found[deployment].stream


def _packets(block: TickBlock) -> list[dict[str, Any]]:
    """Return ticks as users know them, but with the exact time as text: JavaScript numbers lose digits of ns."""
    packets = [block.packet(position) for position in range(len(block))]
    return [{**packet, "timestamp": iso(packet["timestamp"])} for packet in packets]


def _arrow(block: TickBlock) -> bytes:
    index = pa.array(range(block.first_index, block.next_index), pa.int64())
    columns = [index, *block.batch.columns]
    batch = pa.RecordBatch.from_arrays(columns, names=["index", *block.batch.schema.names])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
