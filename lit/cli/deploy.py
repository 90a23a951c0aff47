"""`lit deploy`: models on streams: made, changed without a missed bar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lit.cli.deploy_view import Name, Team, list_all, log, show

if TYPE_CHECKING:
    from lit.serving.opening import Deployment

Stream = Annotated[str, typer.Option(help="the stream whose bars are predicted at")]
Interval = Annotated[str, typer.Option(help="the bars: 1minute, 5minute, 500tick…")]
Ticker = Annotated[str | None, typer.Option(help="symbols, separated by commas; none: all of the stream")]
Models = Annotated[list[str] | None, typer.Option("--model", help="a vault item; repeatable, the first is champion")]
Shadow = Annotated[list[str] | None, typer.Option("--shadow", help="a vault item that predicts unseen; repeatable")]
Alerts = Annotated[
    list[str] | None, typer.Option("--alert", help="a rule, such as drift=0.25 or silence=300; repeatable")
]


class _ItemFirst(TyperGroup):
    """Takes a word that is no command for a vault item: `lit deploy ITEM --stream S`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["item", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=_ItemFirst,
        no_args_is_help=True,
        help="Models on streams. `lit deploy ITEM --stream S` deploys a vault item at once; the server picks it up.",
    )
    for name, command in (
        ("item", item),
        ("create", create),
        ("set", change),
        ("promote", promote_model),
        ("withdraw", withdraw_model),
        ("restart", restart),
        ("remove", remove),
        ("list", list_all),
        ("show", show),
        ("log", log),
    ):
        group.command(name)(command)
    app.add_typer(group, name="deploy")


def item(
    model: Annotated[str, typer.Argument(help="a vault item")],
    stream: Annotated[
        str | None, typer.Option(help="make a deployment on this stream (or use the one of --name)")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="the bars of a new deployment; left out: 1minute")] = None,
    name: Annotated[str | None, typer.Option(help="the deployment; its own name for a new one is the item's")] = None,
    ticker: Ticker = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="let it predict unseen by users")] = False,
    team: Team = "demo",
) -> None:
    """Deploy a vault item: on a stream, or beside the models of an existing deployment (`--name`)."""
    from lit.sdk import deployments

    _tell(deployments.deploy(team, model, stream, name=name, interval=interval, ticker=ticker, shadow=shadow))


def create(
    name: Name,
    stream: Stream,
    interval: Interval = "1minute",
    ticker: Ticker = None,
    model: Models = None,
    shadow: Shadow = None,
    device: Annotated[str, typer.Option(help="cpu or gpu:0")] = "cpu",
    alert: Alerts = None,
    team: Team = "demo",
) -> None:
    """Create a deployment; its models may be chosen later (`lit deploy set`)."""
    from lit.sdk import deployments

    made = deployments.create(
        team,
        name,
        stream,
        interval=interval,
        ticker=ticker,
        models=model or (),
        shadow=shadow or (),
        device=device,
        alerts=_rules(alert),
    )
    _tell(made)


def change(
    name: Name,
    model: Models = None,
    shadow: Shadow = None,
    ticker: Annotated[str | None, typer.Option(help="symbols, separated by commas; an empty text: all")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or gpu:0")] = None,
    alert: Annotated[
        list[str] | None, typer.Option("--alert", help="a rule, such as drift=0.25; drift= ends it; repeatable")
    ] = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="take all models away: it rests")] = False,
    no_shadow: Annotated[bool, typer.Option("--no-shadow", help="take all shadow models away")] = False,
    team: Team = "demo",
) -> None:
    """Change a deployment; what is not given stays. A new worker takes over without a missed bar."""
    from lit.sdk import deployments

    models = [] if no_models and model is None else model
    shadows = [] if no_shadow and shadow is None else shadow
    rules = _rules(alert)
    _tell(deployments.change(team, name, models=models, shadow=shadows, ticker=ticker, device=device, alerts=rules))


def withdraw_model(
    name: Name,
    model: Annotated[str, typer.Argument(help="one of its models")],
    team: Team = "demo",
) -> None:
    """Take a model from a deployment."""
    from lit.sdk import deployments

    _tell(deployments.withdraw(team, name, model))


def promote_model(
    name: Name,
    model: Annotated[str, typer.Argument(help="the challenger")],
    team: Team = "demo",
) -> None:
    """Let a challenger predict for users; the champion before it goes on in its place."""
    from lit.sdk import deployments

    _tell(deployments.promote(team, name, model))


def restart(name: Name, team: Team = "demo") -> None:
    """Start a deployment's process anew; the one that runs goes on until the new one can take over."""
    from lit.sdk import deployments

    deployments.restart(team, name)
    typer.echo(f"{name} is started anew")


def remove(name: Name, team: Team = "demo") -> None:
    """Remove a deployment; what it predicted stays in its topics."""
    from lit.sdk import deployments

    deployments.remove(team, name)
    typer.echo(f"{name} is removed")


def _rules(given: list[str] | None) -> dict[str, Any]:
    """Return rules by name; None for those that end."""
    from lit.streams.errors import UserError

    rules: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"alert {text!r} is not a rule and its value, such as drift=0.25")
        try:
            rules[name] = json.loads(value) if value else None
        except ValueError:
            rules[name] = value
    return rules


def _tell(deployment: Deployment) -> None:
    from lit.sdk.server import runs

    models = ", ".join([*deployment.output.models, *(f"{m} (shadow)" for m in deployment.output.shadow)])
    typer.echo(
        f"{deployment.name} on {deployment.stream}, bars of {deployment.parameters.interval}: "
        f"{models or 'no models yet (`lit deploy set --model`)'}{'' if runs() else '; `lit up` runs it'}"
    )
