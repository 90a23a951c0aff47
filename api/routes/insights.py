"""Why a deployment predicted what it did: inputs, impact, influential cells, what-if; of any prediction on record.

Models run in processes of their own; the event loop only waits, and a few questions are answered at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Query, Request

from lit.api.auth.roles import Role, needs
from lit.api.errors import NotFoundError
from lit.api.insight_schemas import CellsView, Explained, ImpactView, InputsView, InputTable, WhatIf, WhatIfView
from lit.api.services import Services
from lit.serving.insight import Array
from lit.serving.insight_record import MissingPredictionError
from lit.serving.insights import Insights, Situation

#: Looks at the record and computations of impact at the same time; and edits, which are quick.
AT_ONCE, EDITS_AT_ONCE = 2, 4

T = TypeVar("T")
Symbol = Annotated[str | None, Query(description="needed where several symbols have a prediction at this index")]
Model = Annotated[str | None, Query(description="the vault item; needed where several models predicted")]
Output = Annotated[int | None, Query(description="which output of the model; left out: the largest")]


@dataclass(frozen=True)
class Asked:
    """Which prediction is asked about; `hidden`: a shadow model's may be meant."""

    team: str
    deployment: str
    index: int
    symbol: str | None
    model: str | None
    hidden: bool


def asked(request: Request, team: str, name: str, index: int, symbol: Symbol = None, model: Model = None) -> Asked:
    """Return what a request asks about; shadow models are for editors."""
    return Asked(team, name, index, symbol, model, request.scope["lit.principal"].may(Role.EDITOR, team))


Of = Annotated[Asked, Depends(asked)]


def router(services: Services, insights: Insights) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}/deployments/{name}/insights/{index}", tags=["insights"])
    limiter, edits = CapacityLimiter(AT_ONCE), CapacityLimiter(EDITS_AT_ONCE)

    def situation(of: Asked) -> Situation:
        services.workspace(of.team)
        if of.deployment not in services.deployments(of.team):
            raise NotFoundError(f"team {of.team!r} has no deployment {of.deployment!r}")
        try:
            return insights.situation(of.team, of.deployment, of.index, of.symbol, of.model, hidden=of.hidden)
        except MissingPredictionError as error:
            raise NotFoundError(str(error)) from error

    async def in_turn(work: Callable[[], T], turn: CapacityLimiter = limiter) -> T:
        return await to_thread.run_sync(work, limiter=turn)

    @routes.get("/inputs")
    @needs(Role.VIEWER)
    async def inputs(of: Of) -> InputsView:
        """Return what the model saw, feature by feature, and whether that is what was predicted from."""
        return _inputs(await in_turn(lambda: situation(of)))

    @routes.get("/impact")
    @needs(Role.VIEWER)
    async def impact(of: Of, output: Output = None) -> ImpactView:
        """Return saliency and independence of each column and each feature."""
        return ImpactView(**await in_turn(lambda: insights.impact(of.team, situation(of), output)))

    @routes.get("/cells")
    @needs(Role.VIEWER)
    async def cells(of: Of, output: Output = None) -> CellsView:
        """Return the cells of the inputs that the prediction hangs on most."""
        return CellsView(**await in_turn(lambda: insights.influences(of.team, situation(of), output)))

    @routes.post("/what-if")
    @needs(Role.VIEWER)
    async def what_if(of: Of, body: WhatIf) -> WhatIfView:
        """Predict edited inputs."""

        def work() -> dict[str, Any]:
            found = situation(of)
            changes = [(found.cell(one.feature, one.row, one.column), one.value) for one in body.cells]
            return insights.what_if(of.team, found, changes, body.output)

        return WhatIfView(**await in_turn(work, edits))

    return routes


def _inputs(found: Situation) -> InputsView:
    shown = msgspec.to_builtins(found.prediction)
    return InputsView(
        prediction=Explained(**{name: shown[name] for name in Explained.model_fields}),
        features=[_table(feature, found.columns[feature], value) for feature, value in found.inputs.items()],
        same_inputs=found.same_inputs,
        same_prediction=found.same_prediction,
        prediction_now=found.prediction_now,
        notes=found.notes,
    )


def _table(feature: str, columns: list[str], value: Array) -> InputTable:
    rows = np.atleast_2d(value).tolist()
    return InputTable(feature=feature, columns=columns, rows=rows, has_rows=value.ndim == 2)
