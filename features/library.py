"""The feature library: scripts of the team and of plugins, and the features that a team has named."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lit.features.feature import Feature
from lit.features.scripts import Outline, Script, load_script, read_outline
from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.plugin_files import plugin_files
from lit.streams.workspace import Workspace, checked_name


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A feature's file."""

    name: str
    script: str
    params: dict[str, Any] = {}


def plugin_scripts() -> Iterator[tuple[str, Path]]:
    """Yield (plugin, script file) of all installed plugins, in order of their names."""
    for path in plugin_files("scripts"):
        yield path.parent.parent.name, path


def script_files(workspace: Workspace) -> dict[str, tuple[str, Path]]:
    """Return name → (plugin or "", file) of every script that the team may use; its own come before plugins'."""
    files = {path.stem: (plugin, path) for plugin, path in plugin_scripts()}
    own = workspace.root / "scripts"
    files |= {path.stem: ("", path) for path in sorted(own.glob("*.py")) if not path.stem.startswith("_")}
    return dict(sorted(files.items()))


def find_script(workspace: Workspace, name: str) -> Script:
    """Load the script of that name: the team's own, else a plugin's.

    Raises
    ------
    UserError
        If there is none, or it can't be loaded.
    """
    plugin, path = _find(workspace, name)
    return load_script(path, plugin=plugin)


def find_outline(workspace: Workspace, name: str) -> Outline:
    """Read the script of that name without running it (see `find_script`)."""
    plugin, path = _find(workspace, name)
    return read_outline(path, plugin=plugin)


def _find(workspace: Workspace, name: str) -> tuple[str, Path]:
    files = script_files(workspace)
    if name not in files:
        raise UserError(f"there is no script {name!r} (there are: {', '.join(files)})")
    plugin, path = files[name]
    return plugin, path


def save_script(workspace: Workspace, name: str, source: str) -> Outline:
    """Write a script of the team, which may stand before a plugin's of the same name; what it replaces is kept.

    Raises
    ------
    UserError
        If it is no Python or its docstring no form; it is read, not run.
    """
    path = script_path(workspace, name)
    outline = read_outline(path, source)
    if path.exists() and path.read_text(encoding="utf-8") == source:
        return outline
    keep_version(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, source.encode())
    return outline


def script_path(workspace: Workspace, name: str) -> Path:
    """Return where the team's own script of that name is, or would be."""
    return workspace.root / "scripts" / f"{checked_name(name, 'script')}.py"


def keep_version(workspace: Workspace, name: str) -> None:
    """Copy a team's script to its former versions, before it is replaced or deleted."""
    path = script_path(workspace, name)
    if not path.exists():
        return
    folder = path.parent / ".versions" / name
    folder.mkdir(parents=True, exist_ok=True)
    number = max((int(kept.stem) for kept in script_versions(workspace, name)), default=0) + 1
    shutil.copy2(path, folder / f"{number:04}.py")


def script_versions(workspace: Workspace, name: str) -> list[Path]:
    """Return files of the former versions of a team's script, oldest first."""
    return sorted((workspace.root / "scripts" / ".versions" / checked_name(name, "script")).glob("*.py"))


def feature_names(workspace: Workspace) -> list[str]:
    """Return the names of the team's features, sorted."""
    return sorted(path.stem for path in (workspace.root / "features").glob("*.json"))


def load_feature(workspace: Workspace, name: str) -> Feature:
    """Load one of the team's features.

    Raises
    ------
    UserError
        If there is none of that name, or its file, script or parameters are not usable.
    """
    saved = read_feature(workspace, name)
    try:
        return Feature(name, find_script(workspace, saved["script"]), saved["params"])
    except UserError as error:
        raise UserError(f"feature {name!r}: {error}") from error


def read_feature(workspace: Workspace, name: str) -> dict[str, Any]:
    """Return a feature's file: name, script, params."""
    path = _feature_path(workspace, name)
    try:
        return msgspec.to_builtins(msgspec.json.decode(path.read_bytes(), type=_Saved))  # type: ignore[no-any-return]
    except FileNotFoundError:
        known = ", ".join(feature_names(workspace)) or "none yet"
        raise UserError(f"team {workspace.team!r} has no feature {name!r} (there are: {known})") from None
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is not a feature: {error}") from None


def save_feature(workspace: Workspace, name: str, script: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Check a feature and write its file; its script is read, not run.

    Returns
    -------
    dict
        What was written: name, script, params with defaults filled in.

    Raises
    ------
    UserError
        If the script or a parameter is not usable, a feature it needs does not exist, or they need each other in a
        circle.
    """
    checked_name(name, "feature")
    outline = find_outline(workspace, script)
    checked = outline.form.check(params)
    needs_of(workspace, name, outline.form.features(checked))
    path = _feature_path(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.format(msgspec.json.encode(_Saved(name, script, checked)), indent=2) + b"\n")
    return {"name": name, "script": script, "params": checked}


def needs_of(workspace: Workspace, name: str, needs: Sequence[str]) -> list[str]:
    """Return all features that a feature named `name` is computed from, in computing order.

    Raises
    ------
    UserError
        If one does not exist, or they need each other in a circle: the circle by name.
    """
    done: dict[str, None] = {}

    def visit(needed: Sequence[str], path: list[str]) -> None:
        for need in needed:
            if need in path:
                circle = [*path[path.index(need) :], need]
                raise UserError(f"features need each other in a circle: {' → '.join(circle)}")
            if need not in done:
                saved = read_feature(workspace, need)
                form = find_outline(workspace, saved["script"]).form
                visit(form.features(form.check(saved["params"])), [*path, need])
                done[need] = None

    visit(needs, [name])
    return list(done)


def load_features(workspace: Workspace, names: Sequence[str]) -> list[Feature]:
    """Load the features of a schema.

    Returns
    -------
    list
        In the order of `names`; each `sort_key` is the feature's place in the order of computing: lower keys of scripts
        first, equal ones in the order of `names`, and every feature behind those it needs.

    Raises
    ------
    UserError
        If one is not usable, needs a feature that is not in `names`, or some need each other in a circle.
    """
    features = [load_feature(workspace, name) for name in names]
    for place, feature in enumerate(in_order_of_need(features)):
        feature.sort_key = float(place)
    return features


def in_order_of_need(features: Sequence[Feature]) -> list[Feature]:
    """Return features in computing order (see `load_features`)."""
    places = {feature.name: place for place, feature in enumerate(features)}
    missing = {feature.name: set(feature.needs) for feature in features}
    for feature in features:
        for need in feature.needs:
            if need not in places:
                raise UserError(f"feature {feature.name!r} is computed from {need!r}: add that to the features")
    heap = [(f.script.sort_key, places[f.name]) for f in features if not missing[f.name]]
    heapq.heapify(heap)
    order: list[Feature] = []
    while heap:
        done = features[heapq.heappop(heap)[1]]
        order.append(done)
        for feature in features:
            if done.name in missing[feature.name]:
                missing[feature.name].remove(done.name)
                if not missing[feature.name]:
                    heapq.heappush(heap, (feature.script.sort_key, places[feature.name]))
    if len(order) < len(features):
        circle = find_circle({name: sorted(needs) for name, needs in missing.items() if needs})
        raise UserError(f"features need each other in a circle: {' → '.join(circle)}")
    return order


def find_circle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a circle in who-needs-whom, its first name repeated at the end; empty if there is none."""
    for start in needs:
        path = [start]
        while path[-1] in needs and (onward := needs[path[-1]]):
            following = onward[0]
            if following in path:
                return [*path[path.index(following) :], following]
            path.append(following)
    return []


def _feature_path(workspace: Workspace, name: str) -> Path:
    return workspace.root / "features" / f"{checked_name(name, 'feature')}.json"
