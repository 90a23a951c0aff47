"""A build as it began, frozen: what is computed from what, by which code; and where a build keeps its files."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from lit.features.feature import Feature
from lit.features.schema import Schema
from lit.features.scripts import load_script
from lit.streams import topics
from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace

OnError = Literal["stop", "quarantine"]
#: Ticks that a chunk covers at the most.
CHUNK_TICKS = 2_000_000
#: Packages whose version may change a result's bits; another version makes another dataset.
_VERSIONED = ("numpy", "pandas", "numba", "pyarrow", "h5py")


class FrozenFeature(msgspec.Struct, frozen=True):
    """A feature as a build began with it; its source goes with asset, run and vault item.

    Parameters
    ----------
    key
        Digest of all that its values depend on but the ticks: script and what it imports of plugins, parameters,
        package versions, and the features that it is computed from.
    chained
        Whether it reads values of features computed before it.
    """

    script: str
    digest: str
    source: str
    params: dict[str, Any]
    key: str = ""
    chained: bool = False

    def thaw(self, name: str) -> Feature:
        """Make the feature again from what was frozen, whatever the team's script says by now."""
        return Feature(name, load_script(Path(f"{self.script}.py"), self.source), self.params)


class FrozenJob(msgspec.Struct, frozen=True):
    """A build as it began: `logs/{build}/job.json`, and the schema snapshot of its asset.

    Parameters
    ----------
    files
        Path → digest of the bytes.
    features
        In computing order.
    segments, origins
        (symbol, ticks) of each file in the dataset's order, and the cached origin of each.
    chunk_ticks
        Ticks that a chunk covers at the most.
    attempt
        Grows with each resumption; names the topic, so that no two share one.
    """

    build: int
    schema: Schema
    files: dict[str, str]
    adapter_digest: str
    features: dict[str, FrozenFeature]
    segments: list[tuple[str, int]]
    versions: dict[str, str]
    origins: list[str] = []
    on_error: OnError = "stop"
    attempt: int = 1
    late: int = 0
    rejects: int = 0
    chunk_ticks: int = CHUNK_TICKS

    @property
    def source(self) -> str:
        """The build's tick topic, as a source."""
        return f"build-{self.schema.name}-{self.build}-{self.attempt}"

    @property
    def ticks(self) -> int:
        """Length of the dataset."""
        return sum(count for _, count in self.segments)

    def topic(self, workspace: Workspace) -> topics.Topic:
        """Return the build's tick topic."""
        return topics.file_ticks(workspace.team, self.source)

    def stages(self) -> list[tuple[str, str]]:
        """Return (feature, key) in computing order."""
        return [(name, feature.key) for name, feature in self.features.items()]

    def dependencies(self) -> list[str]:
        """Return the features that may read others' values."""
        return [name for name, feature in self.features.items() if feature.chained]

    @property
    def chunk_dtype(self) -> str:
        """Type of values in chunks: exact where a feature may be computed from others' values, else the files'."""
        return "float64" if self.dependencies() else self.schema.dtype

    def sequence(self, symbol: str) -> list[tuple[str, int]]:
        """Return (origin, ticks) of a symbol's stretches, in order."""
        pairs = zip(self.segments, self.origins, strict=True)
        return [(origin, count) for (name, count), origin in pairs if name == symbol and count]

    def same_data(self, other: FrozenJob) -> bool:
        """Whether both make the same files, byte for byte."""
        return _identity(self) == _identity(other)


def _identity(job: FrozenJob) -> list[Any]:
    schema = msgspec.structs.replace(job.schema, paths=[])
    return [schema, list(job.files.values()), job.adapter_digest, sorted(job.stages()), job.on_error]


def freeze(features: Sequence[Feature]) -> dict[str, FrozenFeature]:
    """Freeze features, in computing order.

    A feature that takes its fourth argument and uses it may read any feature before it, so its key covers them all.
    """
    frozen: dict[str, FrozenFeature] = {}
    for feature in sorted(features, key=lambda one: one.sort_key):
        chained = bool(feature.needs) or _uses_others(feature.script.source)
        parts = [
            _code_digest(feature.script.source),
            msgspec.json.encode(feature.params, order="deterministic").decode(),
            msgspec.json.encode(versions(), order="deterministic").decode(),
            *(f"{name} {before.key}" for name, before in frozen.items() if chained),
        ]
        key = "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()
        script = feature.script
        frozen[feature.name] = FrozenFeature(
            script.name, script.digest, script.source, dict(feature.params), key, chained
        )
    return frozen


def features_version(resolution: int, features: Mapping[str, FrozenFeature]) -> str:
    """Return 16 hexadecimal digits that differ where samples or values of frozen features may differ."""
    parts = [resolution, sorted((name, feature.key) for name, feature in features.items())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of packages that decide bits."""
    return {name: importlib.metadata.version(name) for name in _VERSIONED}


def _uses_others(source: str) -> bool:
    """Whether a script may look at other features: whether its fourth argument's name occurs in the function."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.name not in ("feature", "feature_batch"):
            continue
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        used = {one.id for statement in node.body for one in ast.walk(statement) if isinstance(one, ast.Name)}
        if node.args.vararg or used & {*names[3:4], "locals", "vars", "eval", "exec"}:
            return True
    return False


def _code_digest(source: str) -> str:
    """Digest a script and what it imports of plugins, directly or not."""
    digest, seen, todo = hashlib.sha256(source.encode()), set[str](), [*_plugin_imports(source)]
    while todo:
        name = todo.pop(0)
        if name in seen:
            continue
        seen.add(name)
        text = _module_source(name)
        digest.update(text.encode())
        todo += _plugin_imports(text)
    return digest.hexdigest()


def _plugin_imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lit.plugins"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lit.plugins"))


@lru_cache(maxsize=256)
def _module_source(name: str) -> str:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return ""  # `from module import name` of what is no module
    path = Path(spec.origin) if spec and spec.origin else None
    return path.read_text(encoding="utf-8") if path and path.suffix == ".py" else ""


def frozen_features(job: FrozenJob) -> list[Feature]:
    """Return a job's features, in computing order, as the build began with them."""
    return thaw(job.features)


def thaw(frozen: Mapping[str, FrozenFeature]) -> list[Feature]:
    """Make features again, in the order they were frozen in."""
    features = []
    for place, (name, one) in enumerate(frozen.items()):
        feature = one.thaw(name)
        feature.sort_key = float(place)
        features.append(feature)
    return features


def build_folder(workspace: Workspace, schema: str) -> Path:
    """Return where a schema's chunks are."""
    return workspace.path("build", schema) / "tmp" / "data"


def logs_folder(workspace: Workspace, number: int) -> Path:
    """Return a build's own folder.

    Raises
    ------
    UserError
        If the team has no such build.
    """
    path = workspace.path("logs", str(number))
    if not path.is_dir():
        known = ", ".join(map(str, build_numbers(workspace)[-5:])) or "none yet"
        raise UserError(f"team {workspace.team!r} has no build {number} (there are: {known})")
    return path


def new_logs(workspace: Workspace) -> Path:
    """Make the folder of the next build; its name is the build's number."""
    root = workspace.folder("logs")
    number = last_build(workspace) + 1
    while True:
        try:
            (root / str(number)).mkdir()
            return root / str(number)
        except FileExistsError:
            number += 1


def last_build(workspace: Workspace) -> int:
    """Return the number of the newest build; 0: there is none."""
    return max(build_numbers(workspace), default=0)


def build_numbers(workspace: Workspace) -> list[int]:
    """Return the numbers of a team's builds, oldest first."""
    root = workspace.path("logs")
    return sorted(int(p.name) for p in root.iterdir() if p.name.isdigit()) if root.is_dir() else []


def load_job(workspace: Workspace, number: int) -> FrozenJob:
    """Read the frozen job of a build."""
    path = logs_folder(workspace, number) / "job.json"
    if not path.exists():
        raise UserError(f"build {number} of team {workspace.team!r} ended before its files were read: start it anew")
    return msgspec.json.decode(path.read_bytes(), type=FrozenJob)


def write_job(logs: Path, job: FrozenJob) -> None:
    """Write a job into its build's folder, whole or not at all."""
    content = msgspec.json.format(msgspec.json.encode(job), indent=2)
    for name in (f"{job.schema.name}.json", "job.json"):
        write_file(logs / name, content)
