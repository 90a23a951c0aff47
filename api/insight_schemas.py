"""Bodies and answers of the routes that explain predictions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from lit.api.schemas import Strict


class Explained(BaseModel):
    """The prediction that is explained; `over_gap`: its inputs reach over a hole in the feed."""

    deployment: str
    model: str
    symbol: str
    interval: str
    bar_start: str
    index: int
    ordinal: int
    epoch: int
    prediction: list[float]
    published_at: str
    over_gap: bool


class InputTable(BaseModel):
    """One feature as the model saw it; a feature without rows has one."""

    feature: str
    columns: list[str]
    rows: list[list[float]]
    has_rows: bool


class InputsView(BaseModel):
    """What the model saw, computed again from what the stream recorded; `notes` say what is not as it was."""

    prediction: Explained
    features: list[InputTable]
    same_inputs: bool
    same_prediction: bool
    prediction_now: list[float]
    notes: list[str]


class PartEffect(BaseModel):
    """What a column (null: the whole feature) did; `independence` null: it had no effect."""

    feature: str
    column: str | None
    saliency: float
    alone: float
    independence: float | None


class Background(BaseModel):
    """The samples that stand for other inputs; `symbol` null: it has too few, they are of any symbol.

    `is_training_asset` false: the asset was built anew since.
    """

    asset: str
    digest: str
    rows: int
    symbol: str | None
    is_training_asset: bool


class ImpactView(BaseModel):
    """Saliency and independence; saliencies add up to `prediction` less `base`, the background's mean prediction."""

    output: int
    columns: list[PartEffect]
    features: list[PartEffect]
    base: float
    prediction: float
    method: Literal["exact", "permutation"]
    coalitions: int
    background: Background


class InfluentialCell(BaseModel):
    """A cell, its usual value (the background's mean), and how much the output falls with that instead."""

    feature: str
    row: int | None
    column: str
    value: float
    usual: float
    effect: float


class CellsView(BaseModel):
    """The most influential cells first."""

    output: int
    cells: list[InfluentialCell]
    background: Background


class CellEdit(Strict):
    """A new value for a cell; rows count from the oldest, negative ones from the newest; a column by name or number."""

    feature: str
    row: int | None = None
    column: str | int
    value: float


class WhatIf(Strict):
    """Edits of the inputs; `output` null: the largest."""

    cells: list[CellEdit] = Field(max_length=10_000)
    output: int | None = None


class EditEffect(BaseModel):
    """An edit, and what it alone does to the output."""

    feature: str
    row: int | None
    column: str
    before: float
    after: float
    alone: float


class WhatIfView(BaseModel):
    """What the model says of the edited inputs; the most influential edits first."""

    prediction: list[float]
    original: list[float]
    output: int
    difference: float
    edits: list[EditEffect]
    milliseconds: float
