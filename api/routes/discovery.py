"""Looking around in cached files: windows of ticks as Arrow, searches, the whole at a glance, single packets."""

from __future__ import annotations

import random
import time
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Response

from lit.api.auth.roles import Role, needs
from lit.api.dataset_schemas import DatasetView, IndexView, PartView, SearchView, SymbolView
from lit.api.datasets import Datasets, OpenDataset
from lit.api.schemas import Packet
from lit.api.services import Services
from lit.features.discovery import DEFAULT_COLUMNS, MAX_POINTS, MAX_WINDOW, Covered, Discovery
from lit.streams.errors import UserError
from lit.streams.store_http_ranges import arrow_stream
from lit.streams.tick import from_iso, iso

ARROW = "application/vnd.apache.arrow.stream"
#: Longest that a search counts the whole dataset in one request.
MAX_SECONDS = 20.0

_BINARY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An Arrow IPC stream",
        "content": {ARROW: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "LIT-Ticks": {"schema": {"type": "integer"}, "description": "ticks that the rows stand for"},
            "LIT-Ticks-Per-Point": {"schema": {"type": "integer"}, "description": "1: not downsampled"},
        },
    }
}

First = Annotated[int | None, Query(ge=0, description="index of the window's first tick")]
Count = Annotated[int | None, Query(ge=0, description="how many ticks; at the end of the data fewer come")]
Start = Annotated[
    str | None, Query(description="ISO 8601 with zone: instead of an index, each symbol from this time on")
]
End = Annotated[str | None, Query(description="ISO 8601 with zone: each symbol up to before this time")]
Symbol = Annotated[str | None, Query(description="of this symbol alone")]


class Window:
    """Which ticks a request means, by `first` and `count` or by `start` and `end`; nothing: all."""

    def __init__(
        self, first: First = None, count: Count = None, start: Start = None, end: End = None, symbol: Symbol = None
    ) -> None:
        if (first is not None or count is not None) and (start is not None or end is not None):
            raise UserError("name the window either by first and count, or by start and end")
        self.first, self.count, self.symbol = first or 0, count, symbol
        self.times = None if start is None and end is None else (_time(start, 0), _time(end, np.iinfo(np.int64).max))

    def of(self, discovery: Discovery) -> list[Covered]:
        """Return the ranges of a dataset."""
        if self.times is not None:
            return discovery.between(*self.times, self.symbol)
        last = len(discovery) if self.count is None else min(self.first + self.count, len(discovery))
        return discovery.covered(self.first, last, self.symbol)


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/dataset", tags=["discovery"])
    datasets = Datasets(services)

    def chosen(
        team: str,
        project: Annotated[str | None, Query(description="the dataset of this project")] = None,
        adapter: Annotated[str, Query(description="with `path`: the source adapter")] = "refinitiv",
        path: Annotated[list[str] | None, Query(description="a cached file, absolute or below raw; repeatable")] = None,
    ) -> OpenDataset:
        return datasets.open(team, project, adapter, path or [])

    @routes.get("")
    @needs(Role.VIEWER)
    def dataset(named: OpenDataset = Depends(chosen)) -> DatasetView:
        """Return what a dataset is made of, and which fields can be searched."""
        return _view(named)

    @routes.get("/window", responses=_BINARY, response_class=Response)
    @needs(Role.VIEWER)
    def window(
        named: OpenDataset = Depends(chosen),
        window: Window = Depends(),
        column: Annotated[
            list[str] | None, Query(description="a field; repeatable; none: timestamp, Price, Volume, session")
        ] = None,
    ) -> Response:
        """Return ticks as an Arrow stream: `index` and columns; 2 million at the most."""
        began = time.perf_counter()
        found = named.discovery.window(window.of(named.discovery), column or DEFAULT_COLUMNS)
        return _arrow(found, found.num_rows, 1, began)

    @routes.get("/overview", responses=_BINARY, response_class=Response)
    @needs(Role.VIEWER)
    def overview(
        named: OpenDataset = Depends(chosen),
        window: Window = Depends(),
        points: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 2000,
    ) -> Response:
        """Return any number of ticks as about `points` rows that keep the extremes, as an Arrow stream.

        Columns: `index` (of a row's first tick), `ticks`, `start`, `end` (earliest and latest time, ns), `low`, `high`
        (prices), `smallest`, `largest` (volumes). The headers, and the stream's metadata, say how many ticks a row is.
        """
        began = time.perf_counter()
        found = named.discovery.overview(window.of(named.discovery), points)
        return _arrow(found.table, found.ticks, found.ticks_per_point, began)

    @routes.get("/search", response_model=SearchView)
    @needs(Role.VIEWER)
    def search(
        *,
        named: OpenDataset = Depends(chosen),
        window: Window = Depends(),
        q: Annotated[
            str, Query(max_length=1000, description="a text, /a regex/, Volume > 10000, joined by and/or/not")
        ],
        seconds: Annotated[float, Query(ge=0, le=MAX_SECONDS, description="for counting the whole dataset")] = 5.0,
    ) -> Response:
        """Return which ticks of a window match, and how many of the whole dataset (as far as the time allows).

        A text is looked for in all text fields, as it stands. Asked again, an incomplete count goes on.
        """
        began = time.perf_counter()
        meant = window.of(named.discovery)
        ticks = sum(len(one.range) for one in meant)
        if window.count is None and window.times is None and ticks > MAX_WINDOW:
            meant, ticks = [], 0  # the whole dataset: counted, but no points of it are shown
        found = named.discovery.search(q, meant, seconds)
        view = {
            "indices": found.indices.tolist(),
            "ticks": ticks,
            "matches": found.matches,
            "searched": found.searched,
            "total": found.total,
            "complete": found.searched == found.total,
        }
        return _json(view, _timing(began))

    @routes.get("/packet", response_model=Packet)
    @needs(Role.VIEWER)
    def packet(*, named: OpenDataset = Depends(chosen), index: Annotated[int, Query(ge=0)]) -> Response:
        """Return one tick with all that its adapter keeps."""
        return _packet(named, index)

    @routes.get("/random", response_model=Packet)
    @needs(Role.VIEWER)
    def shuffle(named: OpenDataset = Depends(chosen), symbol: Symbol = None, seed: int | None = None) -> Response:
        """Return a tick anywhere in the dataset, each as likely; the same one for the same seed."""
        covered = named.discovery.covered(0, len(named.discovery), symbol)
        if not covered:
            raise UserError("the dataset has no tick")
        place = random.Random(seed).randrange(sum(len(one.range) for one in covered))
        for one in covered:
            if place < len(one.range):
                break
            place -= len(one.range)
        return _packet(named, one.index + place)

    @routes.get("/index")
    @needs(Role.VIEWER)
    def index_at(*, named: OpenDataset = Depends(chosen), time: str, symbol: Symbol = None) -> IndexView:
        """Return the index of the first tick at or after a time (ISO 8601 with zone)."""
        return IndexView(index=named.discovery.index_at(_time(time, 0), symbol))

    return routes


def _time(text: str | None, default: int) -> int:
    if text is None:
        return default
    try:
        return from_iso(text)
    except (ValueError, IndexError) as error:
        raise UserError(f"time {text!r} is not ISO 8601 with a zone, such as 2016-05-18T18:57:55Z") from error


def _view(named: OpenDataset) -> DatasetView:
    entries, discovery = named.entries, named.discovery
    owners = [entry.path for entry in entries for _, count in entry.segments if count]
    parts, index = [], 0
    for path, part in zip(owners, discovery.dataset.parts, strict=True):
        parts.append(PartView(path=path, symbol=part.symbol, index=index, ticks=part.count))
        index += part.count
    return DatasetView(
        adapter=named.adapter,
        ticks=index,
        first=iso(min(int(entry.first) for entry in entries)),
        last=iso(max(int(entry.last) for entry in entries)),
        symbols=[SymbolView(symbol=name, ticks=len(own)) for name, own in discovery.dataset.symbols.items()],
        parts=parts,
        fields=discovery.fields,
    )


def _packet(named: OpenDataset, index: int) -> Response:
    if index >= len(named.discovery):
        raise UserError(f"the dataset has {len(named.discovery):,} ticks, so none of index {index}")
    found = named.discovery.dataset[index]
    return _json({**found, "timestamp": iso(found["timestamp"])}, {})


def _json(value: Any, headers: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


def _arrow(table: pa.Table, ticks: int, ticks_per_point: int, began: float) -> Response:
    says = {"LIT-Ticks": str(ticks), "LIT-Ticks-Per-Point": str(ticks_per_point)}
    body = arrow_stream(table.replace_schema_metadata(says))
    return Response(body, media_type=ARROW, headers={**says, **_timing(began)})


def _timing(began: float) -> dict[str, str]:
    return {"Server-Timing": f"store;dur={(time.perf_counter() - began) * 1000:.1f}"}
