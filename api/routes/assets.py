"""Assets: what was built, its audit, its samples; put into production and taken out of it; downloaded."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field

from lit.api.asset_audits import AssetAudits
from lit.api.asset_schemas import AssetDetail, Assets, AuditProgress, Samples, VerifiedAsset
from lit.api.auth.roles import Principal, Role, needs
from lit.api.errors import ConflictError, NotFoundError
from lit.api.record_schemas import answers
from lit.api.schemas import Strict
from lit.api.services import Services
from lit.streams.errors import FaultError, LitError, UserError
from lit.streams.store import TickStore
from lit.streams.tick import from_iso, iso
from lit.streams.workspace import Workspace
from lit.trainer import promotions
from lit.trainer.asset import Asset
from lit.trainer.asset_folder import Where
from lit.trainer.asset_sample import AssetSample, random_number, sample_of, samples_table
from lit.trainer.audit import Audit
from lit.trainer.promotions import Promotion
from lit.trainer.source_packet import source_packet

ARROW = "application/vnd.apache.arrow.stream"
#: Numbers of one answer in JSON, and bytes of one in Arrow.
MAX_JSON = 1_000_000
MAX_ARROW = 64 * 1024 * 1024

Part = Literal["train", "test"]
Version = Annotated[Where | None, Query(description="which version; unset: the promoted one if there is one")]


class PromotionRequest(Strict):
    """Why."""

    note: str = Field("", max_length=2000)


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/assets", tags=["assets"])
    audits = AssetAudits()

    @routes.get("", responses=answers(Assets))
    @needs(Role.VIEWER)
    def assets(team: str) -> Response:
        """Return the assets by name: their versions, in what state they are, who promoted them."""
        return _json(Assets(promotions.statuses(services.workspace(team))))

    @routes.get("/{schema}", responses=answers(AssetDetail))
    @needs(Role.VIEWER)
    def asset(team: str, schema: str, version: Version = None) -> Response:
        """Return an asset with its features, the frozen schema that it was built from, and its record."""
        workspace = services.workspace(team)
        with _open(workspace, schema, "train", version) as part:
            status, record = promotions.status(workspace, schema), promotions.history(workspace, schema)
            return _json(AssetDetail.of(status, part, record))

    @routes.get("/{schema}/audit", responses=answers(Audit) | answers(AuditProgress, 202))
    @needs(Role.VIEWER)
    def audit(team: str, schema: str, version: Version = None) -> Response:
        """Return the audit of an asset; 202 and how far it is, while it is made: ask again."""
        workspace = services.workspace(team)
        folder = _version(workspace, schema, version)
        where: Where = "queue" if folder.name == "queue" else "promoted"
        found = audits.find(workspace, schema, where, folder)
        if isinstance(found, Audit):
            return _json(found)
        return _json(AuditProgress(found.what, found.done, found.total), 202)

    @routes.get("/{schema}/sample", responses=answers(AssetSample))
    @needs(Role.VIEWER)
    def sample(
        team: str,
        schema: str,
        part: Part = "train",
        number: int | None = None,
        seed: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        packet: bool = True,
        version: Version = None,
    ) -> Response:
        """Return a sample by number, or by seed any one, as tables, with the tick that it was made at."""
        if (number is None) == (seed is None):
            raise UserError("give either number, or seed for any sample")
        workspace = services.workspace(team)
        with _open(workspace, schema, part, version) as opened:
            _check_size(opened, 1)
            found = sample_of(opened, number if number is not None else random_number(opened, seed or 0))
            return _json(_with_packet(services, workspace, opened, found) if packet else found)

    @routes.get(
        "/{schema}/samples",
        responses={
            200: {
                **answers(Samples)[200],
                "content": answers(Samples)[200]["content"]
                | {ARROW: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    @needs(Role.VIEWER)
    def samples(
        team: str,
        schema: str,
        request: Request,
        part: Part = "train",
        start: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1)] = 20,
        version: Version = None,
    ) -> Response:
        """Return samples one after the other, as tables or (by Accept) as an Arrow stream, for many."""
        with _open(services.workspace(team), schema, part, version) as opened:
            stop = min(start + count, len(opened))
            if ARROW in request.headers.get("accept", ""):
                return Response(_arrow(opened, start, stop), media_type=ARROW)
            _check_size(opened, stop - start)
            return _json(Samples(len(opened), [sample_of(opened, one) for one in range(start, stop)]))

    @routes.post("/{schema}/promote", responses=answers(Promotion))
    @needs(Role.EDITOR)
    def promote(team: str, schema: str, request: Request, body: PromotionRequest | None = None) -> Response:
        """Put the queued version into production; its content is verified first."""
        return _json(_moved(services, team, schema, request, "promote", body))

    @routes.post("/{schema}/demote", responses=answers(Promotion))
    @needs(Role.EDITOR)
    def demote(team: str, schema: str, request: Request, body: PromotionRequest | None = None) -> Response:
        """Take an asset out of production, back into its queue; trainings that read it go on."""
        return _json(_moved(services, team, schema, request, "demote", body))

    @routes.post("/{schema}/verify", responses=answers(VerifiedAsset))
    @needs(Role.VIEWER)
    def verify(team: str, schema: str, version: Version = None) -> Response:
        """Digest the content of both parts anew and compare it with what they state."""
        workspace = services.workspace(team)
        _version(workspace, schema, version)
        return _json(VerifiedAsset(promotions.verify(workspace, schema, version)))

    @routes.get(
        "/{schema}/files/{part}",
        response_class=FileResponse,
        responses={
            code: {"content": {"application/x-hdf5": {"schema": {"type": "string", "format": "binary"}}}}
            for code in (200, 206)
        },
    )
    @needs(Role.VIEWER)
    def download(team: str, schema: str, part: Part, version: Version = None) -> FileResponse:
        """Return a part's HDF5 file, or ranges of it."""
        with _open(services.workspace(team), schema, part, version) as opened:
            return FileResponse(opened.path, media_type="application/x-hdf5", filename=f"{schema} {part}.h5")

    return routes


def _check_size(part: Asset, samples: int) -> None:
    numbers = samples * sum(math.prod(spec.shape) for spec in part.features.values())
    if numbers > MAX_JSON:
        raise UserError(
            f"{samples:,} samples have {numbers:,} numbers: at most {MAX_JSON:,} in JSON; ask for Arrow or the file"
        )


def _version(workspace: Workspace, schema: str, version: Where | None) -> Any:
    try:
        return promotions.version_folder(workspace, schema, version)
    except UserError as error:
        raise NotFoundError(str(error)) from error


def _open(workspace: Workspace, schema: str, part: Part, version: Where | None) -> Asset:
    return Asset(_version(workspace, schema, version) / f"{part}.h5")


def _moved(
    services: Services,
    team: str,
    schema: str,
    request: Request,
    action: Literal["promote", "demote"],
    body: PromotionRequest | None,
) -> Promotion:
    workspace, principal = services.workspace(team), request.scope["lit.principal"]
    _version(workspace, schema, None)
    by, note = _name(services, principal), body.note if body else ""
    try:
        return getattr(promotions, action)(workspace, schema, by, note)
    except (UserError, FaultError) as error:
        raise ConflictError(str(error)) from error


def _name(services: Services, principal: Principal) -> str:
    """Return what people call the key's holder."""
    stored = services.keys.list().get(principal.key)
    return stored.name if stored else principal.key


def _with_packet(services: Services, workspace: Workspace, part: Asset, found: AssetSample) -> AssetSample:
    """Add the packet, its exact time as text: JavaScript's numbers lose digits of ns."""
    if found.index is None or found.timestamp is None:
        return found
    try:
        store: TickStore | None = services.stores.team(workspace.team)
    except LitError:
        store = None
    try:
        packet = source_packet(workspace, part.schema, found.index, from_iso(found.timestamp), store)
    except LitError as error:
        return msgspec.structs.replace(found, packet_error=str(error))
    return msgspec.structs.replace(found, packet={**packet, "timestamp": iso(packet["timestamp"])})


def _arrow(part: Asset, start: int, stop: int) -> bytes:
    wanted = sum(item.nbytes // max(1, len(part)) for item in part.file.values()) * max(0, stop - start)
    if wanted > MAX_ARROW:
        raise UserError(f"{stop - start:,} samples have {wanted:,} bytes: at most {MAX_ARROW:,} at once, or download")
    table = samples_table(part, start, stop)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _json(value: object, code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), code, media_type="application/json")
