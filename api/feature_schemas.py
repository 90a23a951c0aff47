"""Bodies and answers of the feature library's routes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from lit.api.schemas import Strict

#: Longest source that is taken: a script is a screenful or two.
MAX_SOURCE = 200_000

Kind = Literal["clean", "label", "sampler", "leak", "unstable", "untested", "failing"]


class FormField(BaseModel):
    """One parameter of a script, as a form shows it; `example` is what an empty form starts with."""

    name: str
    kind: Literal["number", "integer", "boolean", "text", "choice", "feature"]
    help: str
    choices: list[str]
    bounds: list[str]
    default: Any
    example: Any


class ScriptListed(BaseModel):
    """A script in the list; `plugin` null means the team's own, `error` why it cannot be used."""

    name: str
    plugin: str | None
    summary: str
    columns: list[str]
    form: list[FormField]
    features: list[str]
    error: str | None


class ScriptView(BaseModel):
    """A script with its source; `shadows` is the plugin whose script of this name the team's own replaces."""

    name: str
    plugin: str | None
    shadows: str | None
    digest: str
    summary: str
    columns: list[str]
    form: list[FormField]
    features: list[str]
    source: str
    error: str | None


class ScriptSource(Strict):
    """A script's new source; `replaces`, if given, is the digest of what the editor began with."""

    source: str = Field(max_length=MAX_SOURCE)
    replaces: str | None = None


class ScriptDraft(Strict):
    """A source, and parameters to check against its form."""

    source: str = Field(max_length=MAX_SOURCE)
    params: dict[str, Any] | None = None


class Mistake(BaseModel):
    """What is wrong with a script, and in which of its lines."""

    message: str
    line: int | None


class Validation(BaseModel):
    """What a source says, read and not run; `params` have defaults filled in."""

    error: Mistake | None
    summary: str
    columns: list[str]
    form: list[FormField]
    params: dict[str, Any] | None


class ScriptVersion(BaseModel):
    """A state of a script: `plugin` as shipped, former ones by number, `current`."""

    name: str
    saved_at: str
    bytes: int
    digest: str


class VersionSource(BaseModel):
    """The source of one version."""

    name: str
    source: str


class Difference(BaseModel):
    """What changed between two versions, as a unified diff."""

    diff: str


class Verdict(BaseModel):
    """What the lookahead judge says of a feature; `kind` label, clean and sampler can be saved."""

    feature: str
    kind: Kind
    samples: int
    changes: int
    evidence: list[str]
    note: str


class ScriptSaved(BaseModel):
    """A saved script, and the verdicts on what it makes of the features that use it."""

    script: ScriptView
    verdicts: list[Verdict]


class FeatureView(BaseModel):
    """A named feature; `verdict` null: not judged since its script or parameters changed."""

    name: str
    script: str
    params: dict[str, Any]
    columns: list[str]
    needs: list[str]
    schemas: list[str]
    verdict: Verdict | None
    error: str | None


class Dataset(Strict):
    """Files as one dataset: those of a schema or a project, or named ones below the team's `raw` folder."""

    schema_name: str | None = Field(None, alias="schema")
    project: str | None = None
    paths: list[str] | None = Field(None, max_length=10_000)
    adapter: str = "refinitiv"
    parameters: dict[str, Any] = Field(default_factory=dict)


class FeatureBody(Strict):
    """A feature to save; with a dataset it is judged on stretches of that too."""

    script: str
    params: dict[str, Any] = Field(default_factory=dict)
    dataset: Dataset | None = None


class Judged(Strict):
    """What to judge a feature on, besides made-up ticks."""

    dataset: Dataset | None = None


class Trial(Strict):
    """What to compute and where: a saved feature, or a script (perhaps with a source not saved yet) with parameters.

    `index` null means anywhere.
    """

    feature: str | None = None
    script: str | None = None
    source: str | None = Field(None, max_length=MAX_SOURCE)
    params: dict[str, Any] = Field(default_factory=dict)
    dataset: Dataset
    index: int | None = None


class Read(BaseModel):
    """One read of a feature, as its script could have written it; `beyond`: it may tell what comes after index i."""

    text: str
    beyond: bool
    declared: bool


class TrialResult(BaseModel):
    """What a feature computed, or (`error`) why it did not; `length` is the dataset's, `seconds` the feature's own."""

    index: int
    length: int
    rejected: bool
    by: str
    columns: list[str]
    rows: list[list[float]]
    seconds: float
    reads: list[Read]
    log: str
    error: Mistake | None
