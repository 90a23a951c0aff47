"""What the feature library's routes do, apart from HTTP: views of scripts and features, datasets, trials."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lit.api.errors import ConflictError, NotFoundError
from lit.api.feature_schemas import (
    FeatureView,
    Mistake,
    ScriptListed,
    ScriptSaved,
    ScriptView,
    Trial,
    TrialResult,
    Validation,
    Verdict,
)
from lit.api.trial_data import TrialData, TrialDatasets
from lit.features import versions
from lit.features.library import feature_names, find_outline, plugin_scripts, read_feature, script_files
from lit.features.sandbox import SandboxError
from lit.features.saving import (
    judged,
    keep_judged,
    kept_verdict,
    save_judged,
    save_script_judged,
    tried,
    users_of_script,
    users_of_scripts,
)
from lit.features.scripts import Outline, ScriptError, read_outline, source_digest
from lit.streams.errors import UserError
from lit.streams.workspace import Workspace, checked_name


def list_scripts(workspace: Workspace) -> list[ScriptListed]:
    """Return every script that the team may use; a broken one with its error."""
    users = users_of_scripts(workspace)
    return [
        ScriptListed(name=name, plugin=plugin or None, features=users.get(name, []), **_described(path))
        for name, (plugin, path) in script_files(workspace).items()
    ]


def view_script(workspace: Workspace, name: str) -> ScriptView:
    """Return a script with its source, or raise `NotFoundError`."""
    plugin, path = _existing_script(workspace, name)
    shipped = {file.stem: owner for owner, file in plugin_scripts()}
    source = path.read_text(encoding="utf-8", errors="replace")
    return ScriptView(
        name=name,
        plugin=plugin or None,
        shadows=None if plugin else shipped.get(name),
        digest=source_digest(source),
        features=users_of_script(workspace, name),
        source=source,
        **_described(path),
    )


def save_script(workspace: Workspace, name: str, source: str, replaces: str | None) -> ScriptSaved:
    """Judge and save a script's source.

    Raises
    ------
    ConflictError
        If the script is no longer what the editor began with.
    UserError
        If it is refused (see `save_script_judged`).
    """
    if replaces is not None and name in script_files(workspace) and view_script(workspace, name).digest != replaces:
        raise ConflictError(f"script {name!r} was changed by somebody else since: load it again, then change it")
    _, verdicts = save_script_judged(workspace, name, source)
    return ScriptSaved(script=view_script(workspace, name), verdicts=[Verdict(**verdict) for verdict in verdicts])


def validate(name: str, source: str, params: dict[str, Any] | None) -> Validation:
    """Read a source without running it, and check parameters against its form."""
    try:
        outline = read_outline(Path(f"{checked_name(name, 'script')}.py"), source)
    except ScriptError as error:
        return Validation(error=_mistake(error), summary="", columns=[], form=[], params=None)
    mistake, checked = None, None
    try:
        checked = None if params is None else outline.form.check(params)
    except UserError as error:
        mistake = _mistake(error)
    return Validation(error=mistake, params=checked, **_outlined(outline))


def list_features(workspace: Workspace) -> list[FeatureView]:
    """Return the team's features; a broken one with its error."""
    schemas = versions.schemas_by_feature(workspace)
    return [_feature_view(workspace, name, schemas.get(name, [])) for name in feature_names(workspace)]


def view_feature(workspace: Workspace, name: str) -> FeatureView:
    """Return a feature, or raise `NotFoundError`."""
    _existing_feature(workspace, name)
    return _feature_view(workspace, name, versions.schemas_by_feature(workspace).get(name, []))


def _feature_view(workspace: Workspace, name: str, schemas: list[str]) -> FeatureView:
    view = FeatureView(name=name, script="", params={}, columns=[], needs=[], schemas=schemas, verdict=None, error=None)
    try:
        saved = read_feature(workspace, name)
        view.script, view.params = saved["script"], saved["params"]
        outline = find_outline(workspace, view.script)
        view.columns = list(outline.columns)
        view.needs = outline.form.features(outline.form.check(view.params))
        verdict = kept_verdict(workspace, name)
        view.verdict = None if verdict is None else Verdict(**verdict)
    except UserError as error:
        view.error = str(error)
    return view


def save_feature(
    workspace: Workspace, name: str, script: str, params: dict[str, Any], data: TrialData | None
) -> FeatureView:
    """Judge and save a feature (see `save_judged`)."""
    _existing_script(workspace, script)
    with tempfile.TemporaryDirectory() as folder:
        save_judged(workspace, name, script, params, [] if data is None else data.excerpts(Path(folder)))
    return view_feature(workspace, name)


def judge_feature(workspace: Workspace, name: str, data: TrialData | None) -> Verdict:
    """Judge a saved feature again, and keep the verdict."""
    saved = read_feature(workspace, _existing_feature(workspace, name))
    with tempfile.TemporaryDirectory() as folder:
        tapes = [] if data is None else data.excerpts(Path(folder))
        verdict = judged(workspace, name, saved["script"], saved["params"], tapes)
    keep_judged(workspace, name, verdict)
    return Verdict(**verdict)


def run_trial(workspace: Workspace, trial: Trial, datasets: TrialDatasets) -> TrialResult:
    """Compute a feature at one index of a dataset; what its script does wrong is part of the result.

    Raises
    ------
    UserError
        If the trial itself is wrong: no such feature, script, file or index; parameters that do not fit.
    """
    name, script, params = _subject(workspace, trial)
    found = datasets.open(workspace, trial.dataset)
    length = found.length
    index = random.randrange(length) if trial.index is None else trial.index
    if not 0 <= index < length:
        raise UserError(f"index {index} is outside 0…{length - 1}")
    nothing: dict[str, Any] = {"rejected": False, "by": "", "columns": [], "rows": [], "seconds": 0.0, "reads": []}
    try:
        answer = tried(workspace, name, script, params, found.data, index, trial.source)
    except (SandboxError, ScriptError) as error:
        log = error.log if isinstance(error, SandboxError) else ""
        return TrialResult(index=index, length=length, log=log, error=_mistake(error), **nothing)
    return TrialResult(length=length, log=answer.log, error=None, **answer.value)


def delete(what: Callable[[Workspace, str], None], workspace: Workspace, name: str) -> None:
    """Delete a script or a feature; one in use is a conflict."""
    if what is versions.delete_feature:
        _existing_feature(workspace, name)
    else:
        _existing_script(workspace, name)
    try:
        what(workspace, name)
    except versions.InUseError as error:
        raise ConflictError(str(error)) from error


def _subject(workspace: Workspace, trial: Trial) -> tuple[str, str, dict[str, Any]]:
    """Return name, script and parameters of what is tried."""
    if (trial.feature is None) == (trial.script is None):
        raise UserError("name what to try: either a feature or a script")
    if trial.feature is not None:
        saved = read_feature(workspace, _existing_feature(workspace, trial.feature))
        return trial.feature, saved["script"], {**saved["params"], **trial.params}
    script = checked_name(trial.script or "", "script")
    if trial.source is None:
        _existing_script(workspace, script)
    return script, script, trial.params


def _existing_script(workspace: Workspace, name: str) -> tuple[str, Path]:
    files = script_files(workspace)
    if checked_name(name, "script") not in files:
        raise NotFoundError(f"there is no script {name!r}")
    return files[name]


def _existing_feature(workspace: Workspace, name: str) -> str:
    if checked_name(name, "feature") not in feature_names(workspace):
        raise NotFoundError(f"team {workspace.team!r} has no feature {name!r}")
    return name


def _described(path: Path) -> dict[str, Any]:
    try:
        return {"error": None, **_outlined(read_outline(path))}
    except ScriptError as error:
        return {"error": str(error), "summary": "", "columns": [], "form": []}


def _outlined(outline: Outline) -> dict[str, Any]:
    return {"summary": outline.summary, "columns": list(outline.columns), "form": outline.form.json()}


def _mistake(error: UserError) -> Mistake:
    return Mistake(message=str(error), line=getattr(error, "line", None))
