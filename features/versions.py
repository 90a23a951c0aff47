"""Former versions of a team's scripts: listed, read, compared; and deleting scripts and features that nothing uses."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from lit.features.library import (
    feature_names,
    find_outline,
    keep_version,
    plugin_scripts,
    read_feature,
    script_path,
    script_versions,
)
from lit.features.saving import forget_verdict, users_of_script
from lit.features.schema import load_schema
from lit.streams.errors import UserError
from lit.streams.tick import iso_ms
from lit.streams.workspace import Workspace, checked_name


class InUseError(UserError):
    """What should be deleted is used; the sentence says by what."""


@dataclass(frozen=True, slots=True)
class Version:
    """A state of a script.

    Parameters
    ----------
    name
        `plugin` (what a plugin ships under this name), a number, or `current` (what runs).
    saved_at
        When it was written, ISO 8601 UTC.
    digest
        `sha256:` of the source.
    """

    name: str
    saved_at: str
    bytes: int
    digest: str


def versions(workspace: Workspace, name: str) -> list[Version]:
    """Return what there is of a script, oldest first: as shipped, former ones by number, the current one."""
    return [_version(label, path) for label, path in _files(workspace, name).items()]


def version_source(workspace: Workspace, name: str, version: str) -> str:
    """Return the source of one version.

    Raises
    ------
    UserError
        If there is no such script or version.
    """
    files = _files(workspace, name)
    wanted = version.lstrip("0") or version
    if wanted not in files:
        raise UserError(f"script {name!r} has no version {version!r} (there are: {', '.join(files)})")
    return files[wanted].read_text(encoding="utf-8")


def diff(workspace: Workspace, name: str, before: str, after: str = "current") -> str:
    """Return what changed between two versions, as a unified diff; empty if nothing did."""
    old, new = (version_source(workspace, name, version).splitlines() for version in (before, after))
    lines = difflib.unified_diff(old, new, f"{name}.py, {before}", f"{name}.py, {after}", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def delete_script(workspace: Workspace, name: str) -> None:
    """Delete a team's own script; it stays among its former versions, and a plugin's of that name counts again.

    Raises
    ------
    InUseError
        If a feature is made by it, and no plugin ships one of that name.
    UserError
        If the team has no such script.
    """
    path = script_path(workspace, name)
    if not path.exists():
        shipped = _plugin_file(name)
        why = "it is shipped by a plugin and stays" if shipped else "there is none"
        raise UserError(f"team {workspace.team!r} has no script {name!r} of its own to delete: {why}")
    users = users_of_script(workspace, name)
    if users and not _plugin_file(name):
        raise InUseError(f"script {name!r} makes feature {', '.join(map(repr, users))}: delete that first")
    keep_version(workspace, name)
    path.unlink()


def delete_feature(workspace: Workspace, name: str) -> None:
    """Delete a feature that no schema has and no other feature is computed from; built assets keep their own copy.

    Raises
    ------
    InUseError
        If one does: which.
    UserError
        If there is no such feature.
    """
    if name not in feature_names(workspace):
        read_feature(workspace, name)  # says that there is none, and which there are
    if schemas := schemas_by_feature(workspace).get(name):
        raise InUseError(f"feature {name!r} is in schema {', '.join(map(repr, schemas))}: take it out there first")
    if users := features_from(workspace, name):
        raise InUseError(f"feature {', '.join(map(repr, users))} is computed from {name!r}: delete that first")
    (workspace.root / "features" / f"{name}.json").unlink()
    forget_verdict(workspace, name)


def schemas_by_feature(workspace: Workspace) -> dict[str, list[str]]:
    """Return feature → the team's schemas that have it."""
    found: dict[str, list[str]] = {}
    for path in sorted((workspace.root / "schemas").glob("*.json")):
        try:
            features = load_schema(workspace, path.stem).features
        except UserError:  # a schema that can't be read can't be built either
            continue
        for feature in features:
            found.setdefault(feature, []).append(path.stem)
    return found


def features_from(workspace: Workspace, feature: str) -> list[str]:
    """Return the team's features that are computed from another one."""
    found = []
    for name in feature_names(workspace):
        try:
            saved = read_feature(workspace, name)
            form = find_outline(workspace, saved["script"]).form
        except UserError:  # not usable, so it can't be computed from anything
            continue
        found += [name] if feature in form.features(saved["params"]) else []
    return found


def _files(workspace: Workspace, name: str) -> dict[str, Path]:
    shipped, own = _plugin_file(checked_name(name, "script")), script_path(workspace, name)
    files = {"plugin": shipped} if shipped else {}
    files |= {str(int(path.stem)): path for path in script_versions(workspace, name)}
    if current := own if own.exists() else shipped:
        files["current"] = current
    if not files:
        find_outline(workspace, name)  # says that there is none, and which there are
    return files


def _plugin_file(name: str) -> Path | None:
    return next((path for _, path in plugin_scripts() if path.stem == name), None)


def _version(label: str, path: Path) -> Version:
    data = path.read_bytes()
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return Version(label, iso_ms(path.stat().st_mtime_ns), len(data), digest)
