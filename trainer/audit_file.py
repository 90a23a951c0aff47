"""`audit.json` beside an asset's parts: written once, made anew when a part is another one or its file has changed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from lit.streams.atomic import write_file
from lit.streams.errors import LitError
from lit.trainer.asset import Asset
from lit.trainer.asset_folder import PARTS
from lit.trainer.audit import VERSION, Audit, Progress, audit
from lit.trainer.horizon import horizons_of

FILE = "audit.json"


class _Of(msgspec.Struct, frozen=True):
    """Which file was audited; a copy or a move keeps digest and size, an edit changes the time."""

    digest: str
    size: int
    modified_ns: int


class _Kept(msgspec.Struct, frozen=True):
    of: dict[str, _Of]
    audit: Audit


def kept_audit(folder: Path) -> Audit | None:
    """Return the audit of the parts in a folder, if there is one and it is of these very files."""
    try:
        kept = msgspec.json.decode((folder / FILE).read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None  # none, of an older version, or damaged: it is made anew
    current = kept.audit.version == VERSION and kept.of == {part: _identify(folder / f"{part}.h5") for part in PARTS}
    return kept.audit if current else None


def audited(folder: Path, on_progress: Progress = lambda *_: None) -> Audit:
    """Return the audit of the parts in a folder; made and kept there unless it is there.

    Raises
    ------
    UserError
        If a part is missing or refused.
    FaultError
        If a part is damaged.
    """
    found = kept_audit(folder)
    if found is None:
        of = {part: _identify(folder / f"{part}.h5") for part in PARTS}
        with Asset(folder / "train.h5") as train, Asset(folder / "test.h5") as test:
            found = audit(train, test, _labels(train.schema), on_progress)
        with suppress(OSError):  # a folder that is only read, or full: the audit is made again next time
            _keep(folder, _Kept(of, found))
    return found


def _labels(schema: dict[str, Any]) -> dict[str, float | None] | None:
    try:
        return horizons_of(schema)
    except (LitError, KeyError, TypeError):  # made by hand, or a script that does not run any more
        return None


def _identify(path: Path) -> _Of:
    with Asset(path) as part:
        stat = path.stat()
        return _Of(part.digest, stat.st_size, stat.st_mtime_ns)


def _keep(folder: Path, kept: _Kept) -> None:
    write_file(folder / FILE, msgspec.json.format(msgspec.json.encode(kept), indent=1))
