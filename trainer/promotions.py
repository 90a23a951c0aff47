"""Which version of an asset is in production, who said so, and when: `promotions.jsonl`, which only grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from lit.features.content import content_digest
from lit.streams.errors import FaultError, LitError, UserError
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace
from lit.trainer.asset import Asset
from lit.trainer.asset_folder import PARTS, Where, asset_folder, asset_names, move, part_folder, present
from lit.trainer.audit_file import kept_audit
from lit.trainer.hdf5 import reading

LOG = "promotions.jsonl"

State = Literal["promoted", "promoted by hand", "queued", "demoted by hand", "torn", "empty"]


class Promotion(msgspec.Struct, frozen=True):
    """A line of `promotions.jsonl`. `replaces` are the digests of the version that was in production before.

    `audited` says whether an audit of this very version was there when it was decided.
    """

    action: Literal["promote", "demote"]
    schema: str
    by: str
    at: str
    digests: dict[str, str]
    samples: dict[str, int]
    replaces: dict[str, str] | None = None
    note: str = ""
    audited: bool = False


class AssetParts(msgspec.Struct, frozen=True):
    """The parts of one version of an asset; `error` says why one is not usable."""

    digests: dict[str, str]
    samples: dict[str, int]
    bytes: int
    modified: str
    audited: bool
    error: str = ""


class AssetStatus(msgspec.Struct, frozen=True):
    """An asset: its versions, in what state it is, and the last line of its record.

    `state` says `by hand` where what lies there is not what the record says: somebody moved the files.
    """

    schema: str
    state: State
    promoted: AssetParts | None
    queue: AssetParts | None
    last: Promotion | None


class CheckedPart(msgspec.Struct, frozen=True):
    """A part whose content was digested anew; `intact`: it is what the file states."""

    part: str
    stated: str
    found: str
    intact: bool


def promote(workspace: Workspace, schema: str, by: str, note: str = "") -> Promotion:
    """Make the queued version of an asset the one that trainings use; the digests of its content are checked first.

    What was in production before is replaced; a training that reads it goes on reading it.

    Raises
    ------
    UserError
        If nothing is queued, its parts are of two builds, or another version came while it was checked.
    FaultError
        If its content is not what its digest says.
    """
    folder = asset_folder(workspace, schema)
    queue = part_folder(folder, "queue")
    if not all((queue / f"{part}.h5").is_file() for part in PARTS):
        raise UserError(f"asset {schema!r} has nothing in its queue to promote{_since(history(workspace, schema))}")
    with Asset(queue / "train.h5") as train, Asset(queue / "test.h5") as test:
        if (train.schema, train.features) != (test.schema, test.features):
            raise UserError(f"train.h5 and test.h5 in {queue} are of two builds: wait for the build, or build again")
        for part in (train, test):
            _require(checked_part(part))
        parts = {"train": train, "test": test}
        inodes = {name: part.file.id.get_vfd_handle() for name, part in parts.items()}
        record = Promotion(
            "promote",
            schema,
            by,
            iso_ms(time.time_ns()),
            {name: part.digest for name, part in parts.items()},
            {name: len(part) for name, part in parts.items()},
            _digests(folder),
            note,
            kept_audit(queue) is not None,
        )
        _move(folder, queue, folder, record, lambda: _same_files(queue, inodes))
    return record


def demote(workspace: Workspace, schema: str, by: str, note: str = "") -> Promotion:
    """Put an asset's promoted version back into its queue.

    Raises
    ------
    UserError
        If none is promoted, or another version waits in the queue.
    """
    folder = asset_folder(workspace, schema)
    queue = part_folder(folder, "queue")
    if not all((folder / f"{part}.h5").is_file() for part in PARTS):
        raise UserError(f"asset {schema!r} is not promoted{_since(history(workspace, schema))}")

    def check() -> None:
        waiting = _digests(queue)
        if waiting is not None and waiting != record.digests:
            raise UserError(f"another version of asset {schema!r} is in its queue: promote that, or move it away first")

    with Asset(folder / "train.h5") as train, Asset(folder / "test.h5") as test:
        parts = {"train": train, "test": test}
        digests = {name: part.digest for name, part in parts.items()}
        samples = {name: len(part) for name, part in parts.items()}
        record = Promotion("demote", schema, by, iso_ms(time.time_ns()), digests, samples, None, note)
        _move(folder, folder, queue, record, check)
    return record


def history(workspace: Workspace, schema: str) -> list[Promotion]:
    """Return an asset's promotions and demotions, oldest first; a line that a crash cut off is none."""
    path = asset_folder(workspace, schema) / LOG
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            found.append(msgspec.json.decode(line, type=Promotion))
        except msgspec.MsgspecError:
            continue
    return found


def status(workspace: Workspace, schema: str) -> AssetStatus:
    """Return what an asset consists of and what state it is in; a damaged file is said, not raised.

    Raises
    ------
    UserError
        If there is no such asset.
    """
    folder = asset_folder(workspace, schema)
    versions = {where: _parts(part_folder(folder, where)) for where in ("promoted", "queue")}
    last = next(reversed(history(workspace, schema)), None)
    return AssetStatus(schema, _state(present(folder), versions, last), versions["promoted"], versions["queue"], last)


def statuses(workspace: Workspace) -> list[AssetStatus]:
    """Return all assets of a team, by name."""
    return [status(workspace, name) for name in asset_names(workspace)]


def verify(workspace: Workspace, schema: str, where: Where | None = None) -> list[CheckedPart]:
    """Digest the content of a version's parts anew; that in production, or else the queued one.

    Raises
    ------
    UserError
        If there is no such version.
    """
    folder = version_folder(workspace, schema, where)
    found = []
    for part in PARTS:
        with Asset(folder / f"{part}.h5") as asset:
            found.append(checked_part(asset))
    return found


def version_folder(workspace: Workspace, schema: str, where: Where | None = None) -> Path:
    """Return where the parts of an asset are: of a version, or of the one that is read.

    Raises
    ------
    UserError
        If there is no such version.
    """
    folder = asset_folder(workspace, schema)
    chosen = where or present(folder)
    found = part_folder(folder, chosen or "queue")
    missing = [part for part in PARTS if not (found / f"{part}.h5").is_file()]
    if missing:
        raise UserError(f"asset {schema!r} has no {missing[0]}.h5 {_PLACES[chosen]}: build it first (`lit build`)")
    return found


_PLACES = {None: "at all", "promoted": "in production", "queue": "in its queue"}


def checked_part(part: Asset) -> CheckedPart:
    """Digest the content of an open part anew."""
    with reading(part.path):
        found = content_digest(part.file)
    return CheckedPart(part.path.stem, part.digest, found, found == part.digest)


def _require(found: CheckedPart) -> None:
    if not found.intact:
        raise FaultError(
            f"{found.part}.h5 is not what its digest says ({found.stated or 'it has none'}, but its content is "
            f"{found.found}): it was edited or damaged. Build it again"
        )


def _move(folder: Path, source: Path, target: Path, record: Promotion, check: Callable[[], None]) -> None:
    move(folder, source, target, check, folder / LOG, msgspec.json.encode(record).decode())


def _same_files(folder: Path, handles: dict[str, int]) -> None:
    """Raise unless the files in a folder are those that are open by these handles."""
    for part, handle in handles.items():
        path = folder / f"{part}.h5"
        if not path.is_file() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise UserError(f"{path} was replaced or moved while it was checked: look at the asset and promote again")


def _digests(folder: Path) -> dict[str, str] | None:
    found = _parts(folder)
    return found.digests if found else None


def _parts(folder: Path) -> AssetParts | None:
    paths = {part: folder / f"{part}.h5" for part in PARTS if (folder / f"{part}.h5").is_file()}
    if not paths:
        return None
    digests, samples, error = {}, {}, ""
    for part, path in paths.items():
        try:
            with Asset(path) as asset:
                digests[part], samples[part] = asset.digest, len(asset)
        except LitError as problem:
            error = str(problem)
    stats = [path.stat() for path in paths.values()]
    audited = not error and len(paths) == len(PARTS) and kept_audit(folder) is not None
    return AssetParts(
        digests,
        samples,
        sum(stat.st_size for stat in stats),
        iso_ms(max(stat.st_mtime_ns for stat in stats)),
        audited,
        error or ("" if len(paths) == len(PARTS) else f"only {next(iter(paths))}.h5 is there"),
    )


def _state(read: Where | None, versions: dict[str, AssetParts | None], last: Promotion | None) -> State:
    promoted, recorded = versions["promoted"], last is not None and last.action == "promote"
    if promoted and read != "promoted":
        return "torn"
    if promoted:
        return "promoted" if recorded and last and last.digests == promoted.digests else "promoted by hand"
    if recorded:
        return "demoted by hand"
    return "queued" if read else "torn" if versions["queue"] else "empty"


def _since(records: list[Promotion]) -> str:
    if not records:
        return ""
    last = records[-1]
    return f" ({last.action}d by {last.by} at {last.at})"
