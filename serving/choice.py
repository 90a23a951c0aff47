"""Which models a deployment has: a vault item joins, leaves, or from the shadow takes the champion's place. Pure."""

from __future__ import annotations

import msgspec

from lit.serving.opening import Deployment
from lit.streams.errors import UserError


def deploy(deployment: Deployment, model: str, shadow: bool = False) -> Deployment:
    """Return the deployment with a model more (or moved to the shadow, or out of it); one that is there stays."""
    if model in (deployment.output.shadow if shadow else deployment.output.models):
        return deployment
    models = [name for name in deployment.output.models if name != model]
    hidden = [name for name in deployment.output.shadow if name != model]
    (hidden if shadow else models).append(model)
    return _with(deployment, models, hidden)


def withdraw(deployment: Deployment, model: str) -> Deployment:
    """Return the deployment without a model.

    Raises
    ------
    UserError
        If it does not have it.
    """
    _check(deployment, model)
    return _with(
        deployment,
        [name for name in deployment.output.models if name != model],
        [name for name in deployment.output.shadow if name != model],
    )


def promote(deployment: Deployment, challenger: str) -> Deployment:
    """Return the deployment with a challenger as champion; the champion before it goes on in the challenger's place.

    Raises
    ------
    UserError
        If it does not have it, or it is the champion.
    """
    _check(deployment, challenger)
    models, hidden = list(deployment.output.models), list(deployment.output.shadow)
    if models[:1] == [challenger]:
        raise UserError(f"{challenger!r} is the champion of deployment {deployment.name!r} already")
    if challenger in hidden:
        place = hidden.index(challenger)
        hidden[place : place + 1] = models[:1]
        models[:1] = [challenger]
    else:
        models.remove(challenger)
        models.insert(0, challenger)
    return _with(deployment, models, hidden)


def _check(deployment: Deployment, model: str) -> None:
    known = [*deployment.output.models, *deployment.output.shadow]
    if model not in known:
        raise UserError(
            f"deployment {deployment.name!r} has no model {model!r}: it has {', '.join(known) or 'none yet'}"
        )


def _with(deployment: Deployment, models: list[str], shadow: list[str]) -> Deployment:
    output = msgspec.structs.replace(deployment.output, models=models, shadow=shadow)
    return msgspec.structs.replace(deployment, output=output)
