"""Saving a feature after it was judged, in a process of its own: what leaks or fails is not saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit.features import sandbox
from lit.features.library import find_outline, needs_of, read_feature, save_feature
from lit.features.scripts import Outline
from lit.features.trial import payload
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name

_REFUSED = ("leak", "unstable", "failing")


def judged(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], tapes: Sequence[Path] = ()
) -> dict[str, Any]:
    """Judge a feature before it is saved, or again (see `lit.features.trial.examine`)."""
    features = described(workspace, name, script, params)
    arguments = {"features": features, "tapes": [str(tape) for tape in tapes]}
    return sandbox.call("lit.features.trial:examine", arguments, seconds=120).value  # type: ignore[no-any-return]


def tried(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], tapes: Sequence[Path], index: int
) -> sandbox.Answer:
    """Compute a feature at one index of a dataset made of tapes (see `lit.features.trial.try_at`)."""
    features = described(workspace, name, script, params)
    arguments = {"features": features, "tapes": [str(tape) for tape in tapes], "index": index}
    return sandbox.call("lit.features.trial:try_on", arguments, seconds=30)


def save_judged(
    workspace: Workspace, name: str, script: str, params: Mapping[str, Any], tapes: Sequence[Path] = ()
) -> dict[str, Any]:
    """Judge a feature and save it.

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
    verdict = judged(workspace, name, script, params, tapes)
    if verdict["kind"] in _REFUSED:
        fix = " If it is a label, ask for what follows by future=True." if verdict["kind"] == "leak" else ""
        evidence = "".join(f"\n  {line}" for line in verdict["evidence"])
        raise UserError(
            f"feature {name!r} is not saved, it is judged {verdict['kind']}: {verdict['note']}{fix}{evidence}"
        )
    save_feature(workspace, name, script, params)
    return verdict


def described(workspace: Workspace, name: str, script: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describe a feature, and before it those it is computed from, for a child process."""
    outline = find_outline(workspace, script)
    checked = outline.form.check(params)
    chain: list[tuple[str, Outline, dict[str, Any]]] = []
    for need in needs_of(workspace, name, outline.form.features(checked)):
        saved = read_feature(workspace, need)
        chain.append((need, find_outline(workspace, saved["script"]), saved["params"]))
    return payload([*chain, (name, outline, checked)])
