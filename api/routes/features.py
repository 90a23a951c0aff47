"""The feature library: scripts read, tried, judged, saved, compared and deleted; and the features made by them.

Scripts run in child processes with limits, a few at a time; the event loop only waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter

from lit.api import feature_library as library
from lit.api.auth.roles import Role, needs
from lit.api.feature_schemas import (
    Dataset,
    Difference,
    FeatureBody,
    FeatureView,
    Judged,
    ScriptDraft,
    ScriptListed,
    ScriptSaved,
    ScriptSource,
    ScriptVersion,
    ScriptView,
    Trial,
    TrialResult,
    Validation,
    Verdict,
    VersionSource,
)
from lit.api.services import Services
from lit.api.trial_data import TrialData, TrialDatasets
from lit.features import versions
from lit.streams.workspace import Workspace

#: Child processes that run users' code at the same time; further requests wait their turn.
AT_ONCE = 2

T = TypeVar("T")


def router(services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/teams/{team}", tags=["features"])
    limiter = CapacityLimiter(AT_ONCE)
    datasets = TrialDatasets(services)

    async def in_turn(work: Callable[[], T]) -> T:
        return await to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=False)

    def opened(workspace: Workspace, dataset: Dataset | None) -> TrialData | None:
        return None if dataset is None else datasets.open(workspace, dataset)

    @routes.get("/scripts")
    @needs(Role.VIEWER)
    def scripts(team: str) -> list[ScriptListed]:
        """Return the scripts that features can be made by: the team's and the plugins'."""
        return library.list_scripts(services.workspace(team))

    @routes.get("/scripts/{name}")
    @needs(Role.VIEWER)
    def script(team: str, name: str) -> ScriptView:
        """Return a script with its form and source."""
        return library.view_script(services.workspace(team), name)

    @routes.post("/scripts/{name}/validate")
    @needs(Role.VIEWER)
    def validate(team: str, name: str, body: ScriptDraft) -> Validation:
        """Read a source without running it: its form and columns, or the line and the fix of what is wrong."""
        services.workspace(team)
        return library.validate(name, body.source, body.params)

    @routes.put("/scripts/{name}")
    @needs(Role.EDITOR)
    async def save_script(team: str, name: str, body: ScriptSource) -> ScriptSaved:
        """Judge a source on all features that use the script, and save it; what it replaces becomes a version."""
        workspace = services.workspace(team)
        return await in_turn(partial(library.save_script, workspace, name, body.source, body.replaces))

    @routes.delete("/scripts/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_script(team: str, name: str) -> None:
        """Delete a script of the team that no feature is made by; its versions stay."""
        library.delete(versions.delete_script, services.workspace(team), name)

    @routes.get("/scripts/{name}/versions")
    @needs(Role.VIEWER)
    def script_versions(team: str, name: str) -> list[ScriptVersion]:
        """Return the states of a script, oldest first."""
        return [ScriptVersion(**asdict(one)) for one in versions.versions(services.workspace(team), name)]

    @routes.get("/scripts/{name}/versions/{version}")
    @needs(Role.VIEWER)
    def version(team: str, name: str, version: str) -> VersionSource:
        """Return the source of a version."""
        return VersionSource(name=version, source=versions.version_source(services.workspace(team), name, version))

    @routes.get("/scripts/{name}/diff")
    @needs(Role.VIEWER)
    def diff(team: str, name: str, before: str, after: str = "current") -> Difference:
        """Return what changed from one version to another."""
        return Difference(diff=versions.diff(services.workspace(team), name, before, after))

    @routes.get("/features")
    @needs(Role.VIEWER)
    def features(team: str) -> list[FeatureView]:
        """Return the team's features, with the verdict on each."""
        return library.list_features(services.workspace(team))

    @routes.get("/features/{name}")
    @needs(Role.VIEWER)
    def feature(team: str, name: str) -> FeatureView:
        """Return a feature."""
        return library.view_feature(services.workspace(team), name)

    @routes.put("/features/{name}")
    @needs(Role.EDITOR)
    async def save_feature(team: str, name: str, body: FeatureBody) -> FeatureView:
        """Judge a feature (batch against loop, lookahead) and save it; one that leaks is refused with the evidence."""
        workspace = services.workspace(team)

        def work() -> FeatureView:
            return library.save_feature(workspace, name, body.script, body.params, opened(workspace, body.dataset))

        return await in_turn(work)

    @routes.delete("/features/{name}", status_code=204)
    @needs(Role.EDITOR)
    def delete_feature(team: str, name: str) -> None:
        """Delete a feature that no schema has and none is computed from."""
        library.delete(versions.delete_feature, services.workspace(team), name)

    @routes.post("/features/{name}/judge")
    @needs(Role.EDITOR)
    async def judge(team: str, name: str, body: Judged) -> Verdict:
        """Judge a saved feature again."""
        workspace = services.workspace(team)
        return await in_turn(lambda: library.judge_feature(workspace, name, opened(workspace, body.dataset)))

    @routes.post("/trials")
    @needs(Role.EDITOR)
    async def trial(team: str, body: Trial) -> TrialResult:
        """Compute a feature or script at an index of a dataset: values, time, what it read, what it logged."""
        workspace = services.workspace(team)
        return await in_turn(partial(library.run_trial, workspace, body, datasets))

    return routes
