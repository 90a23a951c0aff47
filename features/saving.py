"""Saving scripts and features after they were judged, in a process of their own: what leaks or fails is not saved.

The verdict on a feature is kept beside it, with a digest of all that was judged (its script and parameters, and those
of the features it is computed from), so that it counts only as long as these stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lit.features import sandbox
from lit.features.library import (
    feature_names,
    find_outline,
    needs_of,
    read_feature,
    save_feature,
    save_script,
    script_path,
)
from lit.features.scripts import Outline, read_outline
from lit.features.trial import payload
from lit.streams.atomic import write_file
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name

_REFUSED = ("leak", "unstable", "failing")
#: What judging may take: thirteen other futures of some forty samples, on each of a few tapes.
JUDGE_SECONDS = 300.0
TRY_SECONDS = 30.0

Described = list[dict[str, Any]]


def judged(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], tapes: Sequence[Path] = ()
) -> dict[str, Any]:
    """Judge a feature before it is saved, or again (see `lit.features.trial.examine`)."""
    return _examine(described(workspace, name, script, params), tapes)


def tried(
    workspace: Workspace,
    name: str,
    script: str,
    params: Mapping[str, Any],
    data: Any,
    index: int,
    source: str | None = None,
) -> sandbox.Answer:
    """Compute a feature at one index of a dataset (see `lit.features.trial.try_at`).

    Parameters
    ----------
    data
        The dataset: files of tapes, or an adapter that is open here and is read by the child.
    source
        The script's text where it is not saved yet.
    """
    arguments: dict[str, Any] = {"features": described(workspace, name, script, params, source), "index": index}
    served = None if isinstance(data, Sequence) else data
    if served is None:
        arguments["tapes"] = [str(tape) for tape in data]
    return sandbox.call("lit.features.trial:try_on", arguments, seconds=TRY_SECONDS, serve=served)


def save_judged(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], tapes: Sequence[Path] = ()
) -> dict[str, Any]:
    """Judge a feature and save it, and its verdict.

    Returns
    -------
    dict
        The verdict: `kind` tells whether it is an input (`clean`), a `label` or a `sampler`.

    Raises
    ------
    UserError
        If it is not usable, looks ahead without saying so, or does not say the same of the same data: with evidence.
    """
    checked_name(name, "feature")
    features = described(workspace, name, script, params)
    verdict = _examine(features, tapes)
    _refuse(f"feature {name!r}", verdict)
    save_feature(workspace, name, script, params)
    keep_verdict(workspace, name, features, verdict)
    return verdict


def save_script_judged(workspace: Workspace, name: str, source: str) -> tuple[Outline, list[dict[str, Any]]]:
    """Judge what a script's new source makes of the features that use it, and save it; what it replaces is kept.

    Returns
    -------
    Outline, list of dict
        What the source says, and the verdicts: of each feature that is made by the script; where there is none, of the
        script with its form's defaults and examples; empty where these leave a parameter open.

    Raises
    ------
    UserError
        If it is no script, or one of the verdicts refuses it: with evidence.
    """
    outline = read_outline(script_path(workspace, name), source)
    cases = {feature: read_feature(workspace, feature)["params"] for feature in users_of_script(workspace, name)}
    if not cases and (params := _filled(outline)) is not None:
        cases = {name: params}
    judged_cases = {}
    for feature, params in cases.items():
        try:
            features = described(workspace, feature, name, params, source)
        except UserError as error:
            raise UserError(f"script {name!r} is not saved, it no longer fits feature {feature!r}: {error}") from error
        judged_cases[feature] = (features, _examine(features, ()))
        what = f"feature {feature!r}" if feature != name else "it, with its form's defaults,"
        _refuse(f"script {name!r}", judged_cases[feature][1], what)
    save_script(workspace, name, source)
    for feature, (features, verdict) in judged_cases.items():
        if feature in feature_names(workspace):
            keep_verdict(workspace, feature, features, verdict)
    return outline, [verdict for _, verdict in judged_cases.values()]


def users_of_scripts(workspace: Workspace) -> dict[str, list[str]]:
    """Return script → the team's features that are made by it; a feature whose file is damaged uses nothing."""
    found: dict[str, list[str]] = {}
    for feature in feature_names(workspace):
        try:
            found.setdefault(read_feature(workspace, feature)["script"], []).append(feature)
        except UserError:
            continue
    return found


def users_of_script(workspace: Workspace, name: str) -> list[str]:
    """Return the team's features that are made by a script."""
    return users_of_scripts(workspace).get(name, [])


def keep_verdict(workspace: Workspace, name: str, features: Described, verdict: Mapping[str, Any]) -> None:
    """Write what was said of a feature, and of what exactly."""
    path = _verdict_path(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, msgspec.json.encode({"basis": _basis(features), "verdict": verdict}))


def keep_judged(workspace: Workspace, name: str, verdict: Mapping[str, Any]) -> None:
    """Keep the verdict on a saved feature that was judged again."""
    saved = read_feature(workspace, name)
    keep_verdict(workspace, name, described(workspace, name, saved["script"], saved["params"]), verdict)


def kept_verdict(workspace: Workspace, name: str) -> dict[str, Any] | None:
    """Return the verdict on a saved feature; None if it was never judged, or judged as it no longer is."""
    saved = read_feature(workspace, name)
    try:
        kept = msgspec.json.decode(_verdict_path(workspace, name).read_bytes())
        now = _basis(described(workspace, name, saved["script"], saved["params"]))
    except (OSError, msgspec.MsgspecError, UserError):
        return None
    return kept["verdict"] if kept.get("basis") == now else None


def forget_verdict(workspace: Workspace, name: str) -> None:
    """Delete the verdict on a feature that is deleted."""
    _verdict_path(workspace, name).unlink(missing_ok=True)


def described(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], source: str | None = None
) -> Described:
    """Describe a feature, and before it those it is computed from, for a child process."""

    def outline_of(one: str) -> Outline:
        if source is None or one != script:
            return find_outline(workspace, one)
        return read_outline(script_path(workspace, one), source)

    outline = outline_of(script)
    checked = outline.form.check(params)
    chain: list[tuple[str, Outline, dict[str, Any]]] = []
    for need in needs_of(workspace, name, outline.form.features(checked)):
        saved = read_feature(workspace, need)
        chain.append((need, outline_of(saved["script"]), saved["params"]))
    return payload([*chain, (name, outline, checked)])


def _examine(features: Described, tapes: Sequence[Path]) -> dict[str, Any]:
    arguments = {"features": features, "tapes": [str(tape) for tape in tapes]}
    return sandbox.call("lit.features.trial:examine", arguments, seconds=JUDGE_SECONDS).value  # type: ignore[no-any-return]


def _refuse(what: str, verdict: Mapping[str, Any], of: str = "it") -> None:
    if verdict["kind"] not in _REFUSED:
        return
    fix = " If it is a label, ask for what follows by future=True." if verdict["kind"] == "leak" else ""
    evidence = "".join(f"\n  {line}" for line in verdict["evidence"])
    raise UserError(f"{what} is not saved, {of} is judged {verdict['kind']}: {verdict['note']}{fix}{evidence}")


def _filled(outline: Outline) -> dict[str, Any] | None:
    """Return the form as it comes up, or None where it cannot be judged so: a field is open or means a feature."""
    fields = outline.form.fields
    values = {field.name: field.default if field.default is not None else field.example for field in fields}
    if any(field.kind == "feature" or values[field.name] is None for field in fields):
        return None
    return values


def _basis(features: Described) -> str:
    judged_of = [[item["name"], item["source"], item["params"]] for item in features]
    return "sha256:" + hashlib.sha256(msgspec.json.encode(judged_of)).hexdigest()


def _verdict_path(workspace: Workspace, name: str) -> Path:
    return workspace.root / "features" / ".verdicts" / f"{checked_name(name, 'feature')}.json"
