"""Deployments from Python: made, changed, watched, and what they predict and how it came out.

A deployment is a file of its team, which a running server follows; what needs that server (`health`, `report`, `log`,
`restart`) says so where none runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lit.sdk.published import follow as follow
from lit.sdk.published import predictions as predictions
from lit.sdk.published import scores as scores
from lit.sdk.server import ask
from lit.sdk.workspace import workspace_of
from lit.streams.errors import LitError, UserError
from lit.streams.workspace import Workspace

if TYPE_CHECKING:
    from lit.serving.opening import Deployment


def deployments(team: str) -> dict[str, dict[str, Any]]:
    """Return a team's deployments: stream, models and parameters of each by name.

    Raises
    ------
    UserError
        If a file is no deployment's: which.
    """
    import msgspec

    from lit.serving.opening import load_deployment

    workspace = workspace_of(team)
    found = {name: msgspec.to_builtins(load_deployment(workspace, name)) for name in workspace.names("preview")}
    for one in found.values():
        one["alerts"].pop("secret", None)
    return found


def create(
    team: str,
    name: str,
    stream: str,
    *,
    interval: str = "1minute",
    ticker: str | None = None,
    models: Sequence[str] = (),
    shadow: Sequence[str] = (),
    device: str = "cpu",
    alerts: Mapping[str, Any] | None = None,
) -> Deployment:
    """Make a deployment; its models may be chosen later.

    Parameters
    ----------
    team, name
        Whose, and its name.
    stream, interval
        The bars that are predicted at.
    ticker
        Symbols, separated by commas; None: all of the stream.
    models, shadow
        Vault items; the first model is the champion, shadow ones predict unseen by users.
    device
        `cpu` or `gpu:0`.
    alerts
        Rules and their values, such as `{"drift": 0.25}`.

    Raises
    ------
    UserError
        If there is such a deployment, or no such stream, vault item, device or rule.
    """
    from lit.serving.opening import Deployment, Output, Parameters
    from lit.trainer.backend import checked_device

    workspace = workspace_of(team)
    if name in workspace.names("preview"):
        raise UserError(f"deployment {name!r} exists: change it with `lit deploy set {name!r}`")
    _check_stream(workspace, stream)
    _check_items(workspace, [*models, *shadow])
    output = Output(checked_device(device.lower()), list(models), list(shadow))
    made = Deployment(name, stream, output, Parameters(ticker, _interval(interval)), _rules(alerts or {}, {}))
    return _save(workspace, made)


def deploy(
    team: str,
    model: str,
    stream: str | None = None,
    *,
    name: str | None = None,
    interval: str | None = None,
    ticker: str | None = None,
    shadow: bool = False,
) -> Deployment:
    """Deploy a vault item: on a stream, or beside the models of an existing deployment (`name`).

    Raises
    ------
    UserError
        If there is no such item or stream, or the existing deployment predicts at other bars or symbols.
    """
    from lit.serving.choice import deploy as with_model
    from lit.serving.opening import Deployment, Parameters, load_deployment

    workspace = workspace_of(team)
    _check_items(workspace, [model])
    wanted = name or model
    if wanted in workspace.names("preview"):
        found = load_deployment(workspace, wanted)
        bars = found.stream, found.parameters.interval
        if (stream or bars[0], bars[1] if interval is None else _interval(interval)) != bars:
            raise UserError(
                f"deployment {wanted!r} predicts at bars of {bars[1]} of {bars[0]!r}: "
                "choose another name (--name) for other bars"
            )
        if ticker not in (None, found.parameters.ticker):
            raise UserError(
                f"deployment {wanted!r} serves {found.parameters.ticker or 'all symbols'}, with all its models: "
                f"`lit deploy set {wanted!r} --ticker` changes that"
            )
    elif stream is None:
        known = ", ".join(workspace.names("preview")) or "none yet"
        raise UserError(f"give --stream for a new deployment, or --name of an existing one (there are: {known})")
    else:
        _check_stream(workspace, stream)
        found = Deployment(wanted, stream, parameters=Parameters(ticker, _interval(interval or "1minute")))
    return _save(workspace, with_model(found, model, shadow))


def change(
    team: str,
    name: str,
    *,
    models: Sequence[str] | None = None,
    shadow: Sequence[str] | None = None,
    ticker: str | None = None,
    device: str | None = None,
    alerts: Mapping[str, Any] | None = None,
) -> Deployment:
    """Change a deployment; what is not given stays. A new worker takes over without a missed bar.

    Parameters
    ----------
    team, name
        Which.
    models, shadow
        Vault items in place of those that it has; empty: none.
    ticker
        Symbols, separated by commas; an empty text: all.
    device
        `cpu` or `gpu:0`.
    alerts
        Rules that are put in, or taken out where the value is None; the others stay.

    Raises
    ------
    UserError
        If there is no such deployment, vault item, device or rule.
    """
    from msgspec.structs import replace

    from lit.serving.opening import load_deployment
    from lit.trainer.backend import checked_device

    workspace = workspace_of(team)
    found = load_deployment(workspace, name)
    _check_items(workspace, [*(models or ()), *(shadow or ())])
    output = replace(
        found.output,
        models=found.output.models if models is None else list(models),
        shadow=found.output.shadow if shadow is None else list(shadow),
        device=found.output.device if device is None else checked_device(device.lower()),
    )
    parameters = found.parameters if ticker is None else replace(found.parameters, ticker=ticker or None)
    rules = _rules(alerts or {}, found.alerts)
    return _save(workspace, replace(found, output=output, parameters=parameters, alerts=rules))


def withdraw(team: str, name: str, model: str) -> Deployment:
    """Take a model from a deployment; raises `UserError` if it does not have it."""
    from lit.serving.choice import withdraw as without_model
    from lit.serving.opening import load_deployment

    workspace = workspace_of(team)
    return _save(workspace, without_model(load_deployment(workspace, name), model))


def promote(team: str, name: str, model: str) -> Deployment:
    """Let a challenger predict for users; the champion before it goes on in its place.

    Raises
    ------
    UserError
        If the deployment does not have it, or it is the champion.
    """
    from lit.serving.choice import promote as with_champion
    from lit.serving.opening import load_deployment

    workspace = workspace_of(team)
    return _save(workspace, with_champion(load_deployment(workspace, name), model))


def remove(team: str, name: str) -> None:
    """Remove a deployment; what it predicted stays in its topics."""
    from lit.serving.opening import remove_deployment

    remove_deployment(workspace_of(team), name)


def restart(team: str, name: str) -> None:
    """Start a deployment's process anew; the one that runs goes on until the new one can take over.

    Raises
    ------
    FaultError
        If no server runs.
    """
    ask("POST", f"/teams/{team}/deployments/{name}/restart")


def health(team: str, name: str) -> dict[str, Any]:
    """Return how a deployment does: process, lag, latency, drift, alerts; raises `FaultError` if no server runs."""
    found: dict[str, Any] = ask("GET", f"/teams/{team}/deployments/{name}/health")
    return found


def report(team: str, name: str) -> dict[str, Any]:
    """Return how each model did, and each challenger against the champion; raises `FaultError` if no server runs."""
    found: dict[str, Any] = ask("GET", f"/teams/{team}/deployments/{name}/report")
    return found


def log(team: str, name: str, lines: int = 200) -> str:
    """Return the last lines of what a deployment's process wrote; raises `FaultError` if no server runs."""
    return str(ask("GET", f"/teams/{team}/deployments/{name}/log?lines={lines}"))


def _save(workspace: Workspace, deployment: Deployment) -> Deployment:
    from lit.serving.opening import save_deployment

    save_deployment(workspace, deployment)
    return deployment


def _interval(text: str) -> str:
    from lit.features.intervals import Interval

    return str(Interval.parse(text))


def _check_stream(workspace: Workspace, stream: str) -> None:
    """Refuse a stream that has no file, unless a server knows its topic."""
    if workspace.path("streams", f"{stream}.json").exists():
        return
    try:
        known = [one["name"] for one in ask("GET", f"/teams/{workspace.team}/streams")]
    except LitError:
        known = workspace.names("streams")
    if stream not in known:
        raise UserError(
            f"team {workspace.team!r} has no stream {stream!r} (there are: {', '.join(known) or 'none yet'})"
        )


def _check_items(workspace: Workspace, names: Sequence[str]) -> None:
    from lit.trainer import vault

    for name in names:
        vault.load(workspace, name)


def _rules(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules with those given put in, or taken out where their value is None."""
    return {rule: value for rule, value in {**before, **given}.items() if value is not None}
