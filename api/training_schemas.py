"""Bodies and answers of training and vault, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lit.api.schemas import Strict
from lit.trainer.processfolder import Status


class CanvasNode(Strict):
    """A component on the canvas; `position` is where the page shows it."""

    id: str
    component: str
    properties: dict[str, Any] = Field(default_factory=dict)
    position: dict[str, float] = Field(default_factory=dict)


class CanvasEdge(Strict):
    """A connection from a node's output to another's input; edges into a node count in their order."""

    source: str
    target: str


class CanvasFile(Strict):
    """`{team}/models/{name}.json`; `settings` has project and asset."""

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    nodes: list[CanvasNode] = Field(default_factory=list)
    edges: list[CanvasEdge] = Field(default_factory=list)


class CanvasView(BaseModel):
    """A canvas as lists show it; `error` says why its file can't be read, if so."""

    name: str
    project: str | None
    asset: str | None
    nodes: int
    error: str = ""


class CanvasProblem(BaseModel):
    """What is wrong, and with which node (empty: with the canvas)."""

    node: str
    message: str


class NodeView(BaseModel):
    """What a node becomes: its output's shape without the sample axis (null: any size), and its weights."""

    node: str
    component: str
    shape: list[int | None]
    parameters: int


class CanvasReport(BaseModel):
    """Problems, or else what the nodes become; `loss` is what `auto` becomes."""

    problems: list[CanvasProblem]
    nodes: list[NodeView]
    parameters: int
    task: str
    loss: str


class ComponentProperty(BaseModel):
    """A field of a component's form."""

    name: str
    kind: str
    description: str
    choices: list[str]
    default: Any
    required: bool


class ComponentView(BaseModel):
    """A component's form; `inputs` are the least and most edges that may come in, `error` says what is broken."""

    name: str
    summary: str
    role: str
    inputs: list[int | None]
    properties: list[ComponentProperty]
    error: str
    shipped: bool
    source: str | None = None


class ComponentSource(Strict):
    """A component's file."""

    source: str = Field(max_length=1_000_000)


class FoldBody(Strict):
    """Validation in time, on the training samples alone; seconds, `horizon` unset: as far as the label looks ahead."""

    number: int
    count: int
    horizon: float | None = None
    embargo: float = 0.0
    kind: Literal["walk", "purged"] = "walk"


class Launch(Strict):
    """What to train: a canvas of the team by name, or one as it is; project and asset override its settings."""

    canvas: str | CanvasFile
    project: str | None = None
    asset: str | None = None
    device: str = "cpu"
    epochs: int | None = Field(None, ge=1)
    description: str = ""
    fold: FoldBody | None = None


class Continue(Strict):
    """How a run goes on: unset, where it was and for as many epochs as before."""

    device: str | None = None
    epochs: int | None = Field(None, ge=1)


class RunView(BaseModel):
    """A run; `metrics` is the best epoch's row of perf.csv, `error` what made it fail, `kind` canvas or code."""

    project: str
    run: int
    status: Status
    kind: str
    device: str
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    description: str
    created: str
    error: str
    sweep: str | None
    vault: dict[int, list[str]]


class RunDetail(RunView):
    """A run with all that defines it: canvas and component sources, or a program's source and packages."""

    definition: dict[str, Any]
    features: dict[str, Any]
    models: list[int]


class CalibrationBin(BaseModel):
    """Validation samples whose prediction fell into a bin: its mean, how often yes came, how many they are."""

    prediction: float
    frequency: float
    count: int


class LogTail(BaseModel):
    """The last lines of a log, oldest first."""

    lines: list[str]


class DeviceView(BaseModel):
    """A device, and the team's runs on it, the one that has it first; `others` are runs of other teams."""

    name: str
    queue: list[str]
    others: int


class VaultKeep(Strict):
    """Which epoch to keep; unset: the best, under a name made of project, run and epoch."""

    project: str
    run: int
    epoch: int | None = None
    name: str | None = None
    notes: str = ""
    tags: list[str] = Field(default_factory=list)


class VaultEdit(Strict):
    """What to replace; unset stays."""

    notes: str | None = None
    tags: list[str] | None = None


class FeatureView(BaseModel):
    """A feature of a model: its name, the shape of a sample, its columns."""

    name: str
    shape: list[int]
    columns: list[str]


class VaultView(BaseModel):
    """A kept epoch as lists show it."""

    name: str
    project: str
    run: int
    epoch: int
    digest: str
    created: str
    metrics: dict[str, float]
    notes: str
    tags: list[str]
    inputs: list[FeatureView]
    label: FeatureView
    deployments: list[str]
    trusted: bool | None = Field(description="whether its own layer code may be run; null: it has none")


class VaultDetail(VaultView):
    """A kept epoch with where it came from: asset digest, schema with files and scripts, canvas, components."""

    lineage: dict[str, Any]


class Comparison(BaseModel):
    """Items side by side: a row's name and a value for each item."""

    items: list[str]
    rows: dict[str, list[Any]]


class SweepLaunch(Strict):
    """A search for the best properties of a canvas; `space` is `node.property` → range, or choices as a list."""

    canvas: str | CanvasFile
    project: str | None = None
    asset: str | None = None
    name: str | None = None
    description: str = ""
    space: dict[str, str | list[Any]]
    trials: int = Field(20, ge=1)
    metric: str = ""
    seed: int = 0
    devices: list[str] = Field(default_factory=lambda: ["cpu"])
    epochs: int | None = Field(None, ge=1)
    pruner: Literal["median", "none"] = "median"


class SweepContinue(Strict):
    """How a sweep goes on; `trials` in all, unset: as before."""

    trials: int | None = Field(None, ge=1)


class TrialView(BaseModel):
    """A trial: the run that it is, its properties, the best epoch and its value."""

    number: int
    params: dict[str, Any]
    state: Literal["running", "complete", "pruned", "failed", "waiting"]
    run: int | None
    value: float | None
    epoch: int | None
    error: str


class SweepView(BaseModel):
    """A sweep as lists show it; `done` trials of `trials` are decided, `best` is the best that was trained out."""

    name: str
    status: Status
    project: str
    metric: str
    trials: int
    done: int
    best: TrialView | None
    description: str
    created: str
    error: str


class SweepDetail(SweepView):
    """A sweep with its plan, its canvas and all trials."""

    plan: dict[str, Any]
    canvas: CanvasFile
    all_trials: list[TrialView]
