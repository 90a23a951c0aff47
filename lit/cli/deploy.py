"""`lit deploy`: models on streams: made, changed without a missed bar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lit.cli.deploy_view import Name, Team, list_all, log, show
from lit.cli.server import ask
from lit.cli.workspace import workspace_of

if TYPE_CHECKING:
    from lit.serving.opening import Deployment
    from lit.streams.workspace import Workspace

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
    from lit.serving.choice import deploy
    from lit.serving.opening import Deployment, Parameters, load_deployment
    from lit.streams.errors import UserError
    from lit.trainer import vault

    workspace = workspace_of(team)
    vault.load(workspace, model)
    wanted = name or model
    if wanted in workspace.names("preview"):
        found = load_deployment(workspace, wanted)
        bars = found.stream, found.parameters.interval
        if (stream or bars[0], bars[1] if interval is None else _interval(interval)) != bars:
            raise UserError(
                f"deployment {wanted!r} predicts at bars of {bars[1]} of {bars[0]!r}: "
                "choose another --name for other bars"
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
    _save(workspace, deploy(found, model, shadow))


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
    from lit.serving.opening import Deployment, Output, Parameters
    from lit.streams.errors import UserError

    workspace = workspace_of(team)
    if name in workspace.names("preview"):
        raise UserError(f"deployment {name!r} exists: change it with `lit deploy set {name!r}`")
    _check_stream(workspace, stream)
    _check_items(workspace, [*(model or []), *(shadow or [])])
    output = Output(_device(device), model or [], shadow or [])
    _save(workspace, Deployment(name, stream, output, Parameters(ticker, _interval(interval)), _rules(alert, {})))


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
    from msgspec.structs import replace

    from lit.serving.opening import load_deployment

    workspace = workspace_of(team)
    found = load_deployment(workspace, name)
    _check_items(workspace, [*(model or []), *(shadow or [])])
    output = found.output
    if model is not None or no_models:
        output = replace(output, models=model or [])
    if shadow is not None or no_shadow:
        output = replace(output, shadow=shadow or [])
    if device is not None:
        output = replace(output, device=_device(device))
    parameters = found.parameters if ticker is None else replace(found.parameters, ticker=ticker or None)
    _save(workspace, replace(found, output=output, parameters=parameters, alerts=_rules(alert, found.alerts)))


def promote_model(
    name: Name,
    model: Annotated[str, typer.Argument(help="the challenger")],
    team: Team = "demo",
) -> None:
    """Let a challenger predict for users; the champion before it goes on in its place."""
    from lit.serving.choice import promote
    from lit.serving.opening import load_deployment

    workspace = workspace_of(team)
    _save(workspace, promote(load_deployment(workspace, name), model))


def restart(name: Name, team: Team = "demo") -> None:
    """Start a deployment's process anew; the one that runs goes on until the new one can take over."""
    ask("POST", f"/teams/{team}/deployments/{name}/restart")
    typer.echo(f"{name} is started anew")


def remove(name: Name, team: Team = "demo") -> None:
    """Remove a deployment; what it predicted stays in its topics."""
    from lit.serving.opening import deployment_path, load_deployment

    workspace = workspace_of(team)
    load_deployment(workspace, name)
    deployment_path(workspace, name).unlink()
    typer.echo(f"{name} is removed")


def _interval(text: str) -> str:
    from lit.features.intervals import Interval as Parsed

    return str(Parsed.parse(text))


def _check_stream(workspace: Workspace, stream: str) -> None:
    """Refuse a stream that has no file, unless a server knows its topic."""
    from lit.streams.errors import LitError, UserError

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


def _check_items(workspace: Workspace, names: list[str]) -> None:
    from lit.trainer import vault

    for name in names:
        vault.load(workspace, name)


def _device(text: str) -> str:
    from lit.trainer.backend import checked_device

    return checked_device(text.lower())


def _rules(given: list[str] | None, before: dict[str, Any]) -> dict[str, Any]:
    """Return the rules with those given put in, or taken out where their value is empty."""
    from lit.streams.errors import UserError

    rules = dict(before)
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"alert {text!r} is not a rule and its value, such as drift=0.25")
        if not value:
            rules.pop(name, None)
            continue
        try:
            rules[name] = json.loads(value)
        except ValueError:
            rules[name] = value
    return rules


def _save(workspace: Workspace, deployment: Deployment) -> None:
    from lit.serving.opening import save_deployment
    from lit.streams.store_open import running_server

    save_deployment(workspace, deployment)
    models = ", ".join([*deployment.output.models, *(f"{m} (shadow)" for m in deployment.output.shadow)])
    running = "" if running_server(workspace.data) else "; `lit up` runs it"
    typer.echo(
        f"{deployment.name} on {deployment.stream}, bars of {deployment.parameters.interval}: "
        f"{models or 'no models yet (`lit deploy set --model`)'}{running}"
    )
