"""What a build reads: a schema's files as cached ticks; files that are not cached yet are cached on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lit.features.schema import Schema
from lit.features.schema_check import raw_path
from lit.processors.pump import Piece
from lit.streams import topics
from lit.streams.cache import CachedFile, cache_file, cached_files, origin_of
from lit.streams.errors import UserError
from lit.streams.ingest import verified
from lit.streams.ingest_bytes import SourceFile
from lit.streams.replay import ReplayPlan
from lit.streams.sources import Adapter, load_adapter
from lit.streams.workspace import Workspace


class _Seen(msgspec.Struct, frozen=True):
    """A file that was read to its end once, by an adapter: read again only if it changes."""

    size: int
    mtime_ns: int
    adapter: str
    file: SourceFile


@dataclass
class Inputs:
    """A schema's files.

    Parameters
    ----------
    plan
        The files, found whole, and the adapter that reads them.
    segments, origins
        (symbol, ticks) of each file, and its origin, in the dataset's order; empty if the files are not cached.
    """

    plan: ReplayPlan
    segments: list[tuple[str, int]] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    late: int = 0
    rejects: int = 0

    @property
    def files(self) -> dict[str, str]:
        """Path → digest."""
        return {str(file.path): file.digest for file in self.plan.files}


def read_inputs(
    workspace: Workspace,
    schema: Schema,
    bootstrap: str,
    replication: int,
    on_file: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Inputs:
    """Find a schema's files whole and in the cache's topic; `on_file` is told (file, bytes done, bytes in all).

    Raises
    ------
    UserError
        If a file is missing, broken or not what the adapter reads.
    """
    adapter = load_adapter(workspace, schema.adapter, schema.parameters)
    paths = [raw_path(workspace, path) for path in schema.paths]
    files = _verified(workspace, adapter, paths, on_file)
    inputs = Inputs(ReplayPlan(workspace, adapter, files))
    topic = topics.file_ticks(workspace.team, schema.adapter)
    known = cached_files(workspace)
    if any(not _is_cached(known, file, adapter) for file in files):
        topics.create_topics(bootstrap, topic, replication=replication)
    for file in files:
        if not _is_cached(known, file, adapter):
            name = file.path.name
            known[str(file.path)] = cache_file(
                workspace,
                schema.adapter,
                file.path,
                bootstrap,
                topic.name,
                lambda done, total, name=name: on_file(name, done, total),  # type: ignore[misc]
                parameters=schema.parameters,
            )
        entry = known[str(file.path)]
        if entry.ticks and entry.origin in inputs.origins:
            raise UserError(f"{file.path} has the same content as another file of schema {schema.name!r}: name one")
        inputs.segments += entry.segments
        inputs.origins += [entry.origin] * len(entry.segments)
        inputs.late += entry.late
        inputs.rejects += sum(entry.rejects.values())
    return inputs


def pieces(segments: list[tuple[str, int]], origins: list[str], symbols: set[str]) -> list[Piece]:
    """Return the stretches of the symbols wanted, as they follow each other."""
    found, bases = [], dict[str, int]()
    for (symbol, count), origin in zip(segments, origins, strict=True):
        base = bases.get(symbol, 0)
        bases[symbol] = base + count
        if symbol in symbols:
            found.append(Piece(symbol, origin, base, count))
    return found


def _is_cached(known: dict[str, CachedFile], file: SourceFile, adapter: Adapter) -> bool:
    entry = known.get(str(file.path))
    return entry is not None and entry.origin == origin_of(file, adapter)


def _as_path(_: type, text: str) -> Path:
    return Path(text)


def _verified(
    workspace: Workspace, adapter: Adapter, paths: list[Path], on_file: Callable[[str, int, int], None]
) -> tuple[SourceFile, ...]:
    """Read files to their end, those excepted that were and have not changed since."""
    memory = workspace.folder("build") / ".files.json"
    seen: dict[str, _Seen] = {}
    if memory.exists():
        try:
            seen = msgspec.json.decode(memory.read_bytes(), type=dict[str, _Seen], dec_hook=_as_path)
        except msgspec.MsgspecError:
            seen = {}  # of another version
    files = []
    for path in paths:
        try:
            state = path.stat()
        except OSError:
            verified(path, adapter)  # says what is wrong
            raise
        one = seen.get(str(path))
        if not one or (one.size, one.mtime_ns, one.adapter) != (state.st_size, state.st_mtime_ns, adapter.digest):
            on_file(path.name, 0, state.st_size)
            one = seen[str(path)] = _Seen(state.st_size, state.st_mtime_ns, adapter.digest, verified(path, adapter))
        files.append(one.file)
    part = memory.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(seen, enc_hook=str))
    part.replace(memory)
    return tuple(files)
