"""A schema against what the team has, before a build finds out; and what differs between two schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lit.features.library import find_outline, needs_of, read_feature
from lit.features.schema import Schema, load_schema, save_schema, schema_path
from lit.streams.errors import UserError
from lit.streams.sources import load_adapter
from lit.streams.workspace import Workspace


class Change(msgspec.Struct, frozen=True):
    """One difference: the field, what it was and what it is; for lists, what went and what came."""

    field: str
    before: Any
    after: Any


def problems(workspace: Workspace, schema: Schema) -> list[str]:
    """Return what keeps a schema from being built, a sentence each; empty: nothing."""
    found: list[str] = []

    def attempt(check: Any) -> None:
        try:
            check()
        except UserError as error:
            found.append(str(error))

    attempt(schema.check)
    attempt(lambda: load_adapter(workspace, schema.adapter, schema.parameters))
    for name in schema.features:
        attempt(lambda name=name: _check_feature(workspace, schema, name))
    for path in schema.paths:
        if not raw_path(workspace, path).is_file():
            found.append(f"file {path!r} does not exist: paths are absolute, or within {workspace.root / 'raw'}")
    return found


def _check_feature(workspace: Workspace, schema: Schema, name: str) -> None:
    """Check a feature's file and form; its script is read, not run."""
    saved = read_feature(workspace, name)
    form = find_outline(workspace, saved["script"]).form
    for need in needs_of(workspace, name, form.features(form.check(saved["params"]))):
        if need not in schema.features:
            raise UserError(f"feature {name!r} is computed from {need!r}: add that to the features")


def raw_path(workspace: Workspace, path: str) -> Path:
    """Return where a schema's file is: within `raw/`, or an absolute path."""
    return Path(path) if Path(path).is_absolute() else workspace.root.absolute() / "raw" / path


def save_checked(workspace: Workspace, schema: Schema) -> None:
    """Write a schema that can be built.

    Raises
    ------
    UserError
        With all that is wrong with it.
    """
    if found := problems(workspace, schema):
        raise UserError("; ".join(found))
    save_schema(workspace, schema)


def copy_schema(workspace: Workspace, name: str, to: str, changes: dict[str, Any] | None = None) -> Schema:
    """Save a schema under another name, with some fields changed.

    Raises
    ------
    UserError
        If there is none of that name, or the new name is taken.
    """
    if schema_path(workspace, to).exists():
        raise UserError(f"team {workspace.team!r} has a schema {to!r} already: choose another name")
    copied = msgspec.structs.replace(load_schema(workspace, name), name=to, **(changes or {}))
    save_checked(workspace, copied)
    return copied


def schema_names(workspace: Workspace) -> list[str]:
    """Return the names of a team's schemas, sorted."""
    return sorted(path.stem for path in workspace.path("schemas").glob("*.json"))


def differences(before: Schema, after: Schema) -> list[Change]:
    """Return what differs between two schemas, their names excepted."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    found = []
    for field in old:
        if field == "name" or old[field] == new[field]:
            continue
        if isinstance(old[field], list) and sorted(old[field]) != sorted(new[field]):
            gone = [value for value in old[field] if value not in new[field]]
            found.append(Change(field, gone, [value for value in new[field] if value not in old[field]]))
        else:
            found.append(Change(field, old[field], new[field]))
    return found
