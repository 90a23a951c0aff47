"""The feature library from Python: scripts and features tried, judged and saved; the same as `lit features`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lit.sdk.workspace import workspace_of


def scripts(team: str) -> list[str]:
    """Return the names of the scripts that a team's features can be made by: its own and the plugins'."""
    from lit.features.library import script_files

    return list(script_files(workspace_of(team)))


def features(team: str) -> dict[str, dict[str, Any]]:
    """Return a team's features: name → `script`, `params`, and `verdict` (None: to be judged)."""
    from lit.features.library import feature_names, read_feature
    from lit.features.saving import kept_verdict

    workspace = workspace_of(team)
    found = {}
    for name in feature_names(workspace):
        saved = read_feature(workspace, name)
        verdict = kept_verdict(workspace, name)
        found[name] = {"script": saved["script"], "params": saved["params"], "verdict": verdict and verdict["kind"]}
    return found


def test(
    team: str,
    name: str,
    adapter: Any,
    index: int,
    params: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    """Compute a feature, or a script, at one index, in a process of its own that reads the adapter from here.

    Parameters
    ----------
    team
        Whose library.
    name
        A feature, else a script.
    adapter
        Where, such as `load_adapter(team, "refinitiv", {"paths": […]})`.
    index
        The sample.
    params
        Parameters; of a feature, those that differ.
    source
        A script's text that is not saved yet.

    Returns
    -------
    dict
        `columns`, `rows`, `rejected`, `seconds`, `reads`, and `log`: what the script printed and logged.

    Raises
    ------
    UserError
        If the script fails: with its line; `log` of the error has what it printed before.
    """
    from lit.features.library import feature_names, read_feature
    from lit.features.saving import tried

    workspace = workspace_of(team)
    script, given = name, dict(params or {})
    if source is None and name in feature_names(workspace):
        saved = read_feature(workspace, name)
        script, given = saved["script"], {**saved["params"], **given}
    answer = tried(workspace, name, script, given, adapter, index, source)
    return {**answer.value, "log": answer.log}


def save(team: str, name: str, script: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Judge a feature and save it; return the verdict.

    Raises
    ------
    UserError
        If it is not usable, or judged a leak, unstable or failing: with the evidence.
    """
    from lit.features.saving import save_judged

    return save_judged(workspace_of(team), name, script, params or {})


def save_script(team: str, name: str, source: str) -> list[dict[str, Any]]:
    """Judge a script's source on the features that use it, save it, and return the verdicts."""
    from lit.features.saving import save_script_judged

    return save_script_judged(workspace_of(team), name, source)[1]


def judge(team: str, name: str) -> dict[str, Any]:
    """Judge a saved feature again; return the verdict, which is kept."""
    from lit.features.library import read_feature
    from lit.features.saving import judged, keep_judged

    workspace = workspace_of(team)
    saved = read_feature(workspace, name)
    verdict = judged(workspace, name, saved["script"], saved["params"])
    keep_judged(workspace, name, verdict)
    return verdict
