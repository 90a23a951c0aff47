"""Bodies and answers of schemas and builds, as the OpenAPI document shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lit.api.schemas import Strict


class SplitFile(Strict):
    """What goes to test: from a date on, a random fraction (by seed), or the last fraction."""

    kind: Literal["date", "random", "end"] = "end"
    value: str | float = 0.2
    seed: int = 0


class SchemaFile(Strict):
    """`{team}/schemas/{name}.json`."""

    name: str
    paths: list[str]
    features: list[str]
    adapter: str = "refinitiv"
    resolution: int = 1
    split: SplitFile = SplitFile()
    parameters: dict[str, Any] = Field(default_factory=dict)
    dtype: Literal["float32", "float64"] = "float32"
    compression: Literal["none", "lzf", "gzip"] = "none"
    chunk_rows: int = 0


class SchemaProblems(BaseModel):
    """What keeps a schema from being built, a sentence each."""

    problems: list[str]


class CopyTo(Strict):
    """The name of a copy."""

    to: str


class ChangeView(BaseModel):
    """A difference: the field, what it was and what it is; for lists, what went and what came."""

    field: str
    before: Any
    after: Any


class KeptChunks(BaseModel):
    """What a schema's builds keep for later ones, or kept until it was deleted."""

    schema_name: str
    files: int
    bytes: int


class StartBuild(Strict):
    """A build to start."""

    schema_name: str
    workers: int = 1
    on_error: Literal["stop", "quarantine"] = "stop"


class ResumeBuild(Strict):
    """How to go on with a build."""

    workers: int = 1


class BuildWorker(BaseModel):
    """A feature worker; `feature` is what it computes now, for `seconds` already; `silent` since its last report."""

    host: str
    pid: int
    ticks: int
    samples: int
    feature: str
    seconds: float
    memory_mb: int
    silent: float


class BuildProgressView(BaseModel):
    """How far a build is: `done` of `total` bytes, ticks or samples of its stage, `rate` a second."""

    stage: Literal["cache", "features", "merge", "done"]
    done: int
    total: int
    detail: str
    samples: int
    rate: float
    eta_seconds: float | None
    workers: list[BuildWorker]
    updated: float


class BuildEntry(BaseModel):
    """A build; `message` says what went wrong."""

    build: int
    schema_name: str
    status: str
    message: str
    started: str
    ticks: int
    progress: BuildProgressView | None


class FailedSampleView(BaseModel):
    """A sample that was put aside, for its script failed."""

    index: int
    symbol: str
    position: int
    feature: str
    script: str
    line: int | None
    error: str


class BuildDetail(BuildEntry):
    """A build with what it began with (none: it ended before) and what was put aside, the first hundred."""

    snapshot: dict[str, Any] | None
    quarantined: int
    failed: list[FailedSampleView]


class LogPart(BaseModel):
    """A stretch of a log; ask for what follows with `after=next`."""

    text: str
    next: int
