"""The feature library: scripts of the team and of plugins, and the features that a team has named."""

from __future__ import annotations

import heapq
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lit.features.feature import Feature
from lit.features.scripts import Script, load_script
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A feature's file."""

    name: str
    script: str
    params: dict[str, Any] = {}


def plugin_scripts() -> Iterator[tuple[str, Path]]:
    """Yield (plugin, script file) of all installed plugins, in order of their names."""
    spec = importlib.util.find_spec("lit.plugins")
    roots = spec.submodule_search_locations if spec else None
    for root in roots or ():
        for path in sorted(Path(root).glob("*/scripts/*.py")):
            if not path.stem.startswith("_"):
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
    files = script_files(workspace)
    if name not in files:
        raise UserError(f"there is no script {name!r} (there are: {', '.join(files)})")
    plugin, path = files[name]
    return load_script(path, plugin=plugin)


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


def save_feature(workspace: Workspace, name: str, script: str, params: Mapping[str, Any]) -> Feature:
    """Check a feature and write its file; parameters left out stay open to the script's defaults of later.

    Raises
    ------
    UserError
        If the script or a parameter is not usable, or its dependencies run in a circle.
    """
    checked_name(name, "feature")
    feature = Feature(name, find_script(workspace, script), params)
    _check_circle(workspace, feature)
    path = _feature_path(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = msgspec.json.encode(_Saved(name, script, feature.params))
    path.write_bytes(msgspec.json.format(body, indent=2) + b"\n")
    return feature


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


def _check_circle(workspace: Workspace, feature: Feature) -> None:
    """Refuse a feature that would need itself, through features already saved."""
    trail: list[tuple[str, list[str]]] = [(need, [feature.name, need]) for need in feature.needs]
    while trail:
        name, path = trail.pop()
        if name == feature.name:
            raise UserError(f"features would need each other in a circle: {' → '.join(path)}")
        further = load_feature(workspace, name).needs
        trail += [(need, [*path, need]) for need in further if need not in path[1:]]


def _feature_path(workspace: Workspace, name: str) -> Path:
    return workspace.root / "features" / f"{checked_name(name, 'feature')}.json"
