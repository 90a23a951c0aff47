"""What `lit deploy` shows of deployments: which there are, how they do, what their processes write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.server import ask, refuse, server
from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.serving.opening import Deployment

Team = Annotated[str, typer.Option(help="the team")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]
Name = Annotated[str, typer.Argument(help="a deployment")]
#: Input columns whose drift is shown.
_DRIFTED = 3
#: Measures of models that predict numbers.
_REGRESSION = ("rmse", "mae", "r2", "correlation", "sign_accuracy")


def list_all(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's deployments, and while LIT runs what their processes do."""
    import msgspec

    from lit.serving.opening import load_deployment
    from lit.streams.errors import LitError

    workspace = workspace_of(team)
    found: dict[str, Deployment] = {}
    broken: dict[str, str] = {}
    for name in workspace.names("preview"):
        try:
            found[name] = load_deployment(workspace, name)
        except LitError as error:
            broken[name] = str(error)
    if as_json:
        shown = [msgspec.to_builtins(one) for one in found.values()]
        for one in shown:
            one["alerts"].pop("secret", None)
        for problem in broken.values():
            typer.echo(f"lit: {problem}", err=True)
        return typer.echo(json.dumps(shown))
    try:
        working = {one["name"]: one for one in ask("GET", f"/teams/{team}/deployments")}
    except LitError:
        working = {}
    for name, deployment in found.items():
        output, parameters = deployment.output, deployment.parameters
        models = ", ".join([*output.models, *(f"({model})" for model in output.shadow)]) or "no models yet"
        where = f"{deployment.stream} {parameters.interval} {parameters.ticker or ''}".rstrip()
        does = working.get(name, {"status": "", "last_error": None})
        typer.echo(f"{name:<24}{where:<32}{does['status']:<12}{models}")
        if said := _ended(does["status"], does["last_error"]):
            typer.echo(f"{'':<24}{said}")
    for name, problem in broken.items():
        typer.echo(f"{name:<24}{problem}")


def show(name: Name, team: Team = "demo", as_json: AsJson = False) -> None:
    """Show how a deployment does: process, lag, latency, each model against its base rate, challengers, alerts."""
    health = ask("GET", f"/teams/{team}/deployments/{name}/health")
    report = ask("GET", f"/teams/{team}/deployments/{name}/report")
    if as_json:
        return typer.echo(json.dumps({"health": health, "report": report}))
    found = ask("GET", f"/teams/{team}/deployments/{name}")
    rules = ", ".join(f"{rule} {value}" for rule, value in found["alerts"].items()) or "nothing"
    typer.echo(
        f"{name} on {found['stream']}, bars of {found['interval']}, {found['ticker'] or 'all symbols'}, "
        f"{found['device']}; watched: {rules}"
    )
    waiting = "unknown" if health["lag"] is None else f"{health['lag']} messages"
    typer.echo(
        f"{health['status']}, lag {waiting}, "
        f"latency {_number(health['latency_ms_p50'])} ms (p99 {_number(health['latency_ms_p99'])}), "
        f"last prediction {health['last_prediction'] or 'none yet'}"
    )
    if said := _ended(health["status"], health["last_error"]):
        typer.echo(said)
    for model in report["models"]:
        typer.echo(f"{model['model']}{'  (shadow)' if model['shadow'] else ''}")
        for what, measures in (("since start", model["since_start"]), ("last 500", model["recent"])):
            typer.echo(f"  {what:<12}{_measures(measures)}")
        if passed := health["passed_over"].get(model["model"]):
            typer.echo(f"  predicted nothing at {passed} bars: its features reject them, or lack history for them")
        if model["validation"]:
            typer.echo(f"  {'validation':<12}{_measures(model['validation'])}")
        for line in _drift(health["drift"].get(model["model"], {})):
            typer.echo(line)
    for one in report["comparisons"]:
        verdict = f"{one['better']} is better" if one["better"] else "no difference for certain"
        typer.echo(
            f"{one['challenger']} against {one['champion']} on {one['bars']} bars: {verdict} "
            f"(squared error {one['brier_difference']:+.4f}, 95 % {one['low']:+.4f} … {one['high']:+.4f}; "
            f"McNemar p {one['mcnemar_p']:.3g})"
        )
    for one in health["standing"]:
        typer.echo(f"stands  {one['rule']} of {one['subject']}")
    for alert in health["alerts"][-10:]:
        typer.echo(f"{alert['status']:<8}{alert['sentence']}")


def log(
    name: Name,
    lines: Annotated[int, typer.Option(help="how many of the last lines")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with what comes, until Ctrl-C")] = False,
    team: Team = "demo",
) -> None:
    """Print what a deployment's process writes."""
    import httpx

    from lit.streams.errors import FaultError

    path = f"/teams/{team}/deployments/{name}/log"
    if not follow:
        return typer.echo(ask("GET", f"{path}?lines={lines}"))
    url, bearer = server()
    try:
        with httpx.stream(
            "GET", f"{url}/api{path}/live?lines={lines}", headers=bearer, timeout=None, trust_env=False
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                refuse(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    typer.echo(line.removeprefix("data: "))
    except httpx.HTTPError as error:
        raise FaultError(f"LIT at {url} does not answer: {error}") from error
    except KeyboardInterrupt:
        return None


def _ended(status: str, error: str | None) -> str | None:
    """Return what a process said last, as what it is: of one that works again, the past."""
    if error is None or status != "running" or error.startswith("the change is not in effect"):
        return error
    return f"it works again; before it ended with: {error}"


def _drift(columns: dict[str, float]) -> list[str]:
    """Return the input columns that have moved away furthest from the training asset, as a line."""
    worst = sorted(columns.items(), key=lambda one: -one[1])[:_DRIFTED]
    return [f"  {'drift':<12}{', '.join(f'{column} {value:.3f}' for column, value in worst)} (PSI)"] if worst else []


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _measures(found: dict[str, Any]) -> str:
    """Return measures as text, each beside its base."""
    found = found | (found.get("regression") or {})
    parts = [f"{found['scored']} scored"] if "scored" in found else []
    for name in ("accuracy", "brier", "auc", "calibration_error", *_REGRESSION):
        if found.get(name) is None:
            continue
        digits = ".3g" if name in _REGRESSION else ".3f"  # numbers may be of any size
        base = next((found[key] for key in (f"base_rate_{name}", f"base_{name}") if found.get(key) is not None), None)
        beside = f" (base {base:{digits}})" if base is not None else ""
        parts.append(f"{name.replace('_', ' ')} {found[name]:{digits}}{beside}")
    return ", ".join(parts) or "nothing yet"
