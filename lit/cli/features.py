"""`lit features`: scripts and named features, tried, judged and saved."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lit.sdk.workspace import workspace_of

if TYPE_CHECKING:
    from lit.streams.workspace import Workspace

Team = Annotated[str, typer.Option(help="the team")]
Params = Annotated[list[str] | None, typer.Option("--param", "-p", help="a parameter, as name=value; repeatable")]
On = Annotated[list[Path] | None, typer.Option("--on", help="source file with ticks; repeatable")]
Adapter = Annotated[str, typer.Option(help="source adapter of the files")]
AsJson = Annotated[bool, typer.Option("--json", help="machine output")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    features = typer.Typer(no_args_is_help=True, help="Feature scripts and named features.")
    features.command("list")(list_features)
    features.command("scripts")(list_scripts)
    features.command("show")(show)
    features.command("test")(test)
    features.command("judge")(judge)
    features.command("save")(save)
    features.command("put")(put)
    features.command("versions")(versions)
    features.command("diff")(diff)
    features.command("delete")(delete)
    app.add_typer(features, name="features")


def list_features(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the team's named features."""
    from lit.features.library import feature_names, read_feature
    from lit.features.saving import kept_verdict

    workspace = workspace_of(team)
    found = [
        {**read_feature(workspace, name), "verdict": (kept_verdict(workspace, name) or {}).get("kind")}
        for name in feature_names(workspace)
    ]
    if as_json:
        return _json(found)
    for feature in found:
        params = ", ".join(f"{name}={value}" for name, value in feature["params"].items())
        typer.echo(f"{feature['name']}: {feature['script']}({params}), {feature['verdict'] or 'to be judged'}")
    if not found:
        typer.echo(f"team {team!r} has no features yet; `lit features save NAME SCRIPT` makes one")
    return None


def list_scripts(team: Team = "demo", as_json: AsJson = False) -> None:
    """List the scripts that a feature can be made of: the team's and the plugins'."""
    from lit.features.library import script_files
    from lit.features.scripts import ScriptError, read_outline

    found = []
    for name, (plugin, path) in script_files(workspace_of(team)).items():
        try:
            summary = read_outline(path).summary
        except ScriptError as error:
            summary = f"not usable: {error}"
        found.append({"name": name, "from": plugin or "team", "summary": summary})
    if as_json:
        return _json(found)
    for script in found:
        typer.echo(f"{script['name']:<22}{script['from']:<10}{script['summary']}")
    return None


def show(
    script: Annotated[str, typer.Argument(help="a script")],
    team: Team = "demo",
    source: Annotated[bool, typer.Option("--source", help="its source")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a script's parameters, columns and, if asked, source."""
    from lit.features.library import find_outline

    outline = find_outline(workspace_of(team), script)
    if as_json:
        return _json(
            {
                "name": outline.name,
                "path": str(outline.path),
                "digest": outline.digest,
                "summary": outline.summary,
                "form": outline.form.json(),
                "columns": list(outline.columns),
                "source": outline.source,
            }
        )
    typer.echo(outline.source if source else f"{outline.name}: {outline.summary}\n{outline.path}")
    if not source:
        for field in outline.form.fields:
            kind = f"[{', '.join(field.choices)}]" if field.choices else field.kind
            bounds = "".join(f" {bound}" for bound in field.bounds)
            default = "" if field.default is None else f", default {field.default}"
            typer.echo(f"  {field.name} : {kind}{bounds}{default}\n      {field.help}")
        typer.echo(f"  returns {', '.join(outline.columns) or 'columns that the docstring does not name'}")
    return None


def test(
    name: Annotated[str, typer.Argument(help="a script or a named feature")],
    on: On = None,
    project: Annotated[str | None, typer.Option(help="on this project's files; cached ones take no reading")] = None,
    index: Annotated[int | None, typer.Option(help="where; left out: anywhere")] = None,
    param: Params = None,
    adapter: Adapter = "refinitiv",
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Compute a script or feature at one index of a dataset: values, time, what it read, what it logged."""
    from lit.features.sandbox import SandboxError
    from lit.features.saving import tried

    workspace = workspace_of(team)
    script, params = _script(workspace, name, param)
    with _dataset(workspace, adapter, on, project) as (data, length):
        index = random.randrange(length) if index is None else index
        try:
            answer = tried(workspace, name, script, params, data, index)
        except SandboxError as error:
            typer.echo(error.log, nl=False)
            raise
    result = answer.value
    if as_json:
        return _json({**result, "log": answer.log})
    if result["rejected"]:
        typer.echo(f"index {index}: rejected by {result['by']}")
    else:
        _table(result["columns"], result["rows"])
        typer.echo(f"index {index}, {len(result['rows'])} rows, {result['seconds'] * 1000:.2f} ms")
    for read in result["reads"]:
        typer.echo(f"read {read['text']}{'  (reaches beyond i)' if read['beyond'] else ''}")
    typer.echo(answer.log, nl=False)
    return None


def judge(
    names: Annotated[list[str] | None, typer.Argument(help="features; none: all of the team")] = None,
    on: On = None,
    adapter: Adapter = "refinitiv",
    team: Team = "demo",
    as_json: AsJson = False,
) -> None:
    """Change the future of random samples and tell which features notice; exit code 1 if one leaks or is unstable."""
    from lit.features.library import feature_names, read_feature
    from lit.features.saving import judged, keep_judged

    workspace = workspace_of(team)
    verdicts = []
    with _tapes(workspace, adapter, on) as tapes:
        for name in names or feature_names(workspace):
            saved = read_feature(workspace, name)
            verdict = judged(workspace, name, saved["script"], saved["params"], tapes)
            keep_judged(workspace, name, verdict)
            verdicts.append(verdict)
            if not as_json:
                _tell(verdict)
    if as_json:
        _json(verdicts)
    if any(verdict["kind"] in ("leak", "unstable", "failing") for verdict in verdicts):
        raise typer.Exit(1)


def save(
    name: Annotated[str, typer.Argument(help="name of the feature")],
    script: Annotated[str, typer.Argument(help="the script that computes it")],
    param: Params = None,
    on: On = None,
    adapter: Adapter = "refinitiv",
    team: Team = "demo",
) -> None:
    """Judge a script with these parameters and save it as a named feature."""
    from lit.features.saving import save_judged

    workspace = workspace_of(team)
    with _tapes(workspace, adapter, on) as tapes:
        verdict = save_judged(workspace, name, script, _pairs(param), tapes)
    _tell(verdict)
    typer.echo(f"saved: {workspace.path('features', f'{name}.json')}")


def put(
    name: Annotated[str, typer.Argument(help="name of the script")],
    file: Annotated[Path, typer.Argument(help="file with its source", exists=True, dir_okay=False)],
    team: Team = "demo",
) -> None:
    """Judge a script's source on the features that use it, and save it; what it replaces becomes a version."""
    from lit.features.library import script_path
    from lit.features.saving import save_script_judged

    workspace = workspace_of(team)
    _, verdicts = save_script_judged(workspace, name, file.read_text(encoding="utf-8"))
    for verdict in verdicts:
        _tell(verdict)
    typer.echo(f"saved: {script_path(workspace, name)}")


def versions(
    script: Annotated[str, typer.Argument(help="a script")], team: Team = "demo", as_json: AsJson = False
) -> None:
    """List the states of a script: as shipped by a plugin, former ones by number, the current one."""
    from dataclasses import asdict

    from lit.features import versions as kept

    found = kept.versions(workspace_of(team), script)
    if as_json:
        return _json([asdict(one) for one in found])
    for one in found:
        typer.echo(f"{one.name:<10}{one.saved_at}  {one.bytes:>7} bytes  {one.digest[:19]}…")
    return None


def diff(
    script: Annotated[str, typer.Argument(help="a script")],
    before: Annotated[str, typer.Argument(help="a version, as `versions` lists them")],
    after: Annotated[str, typer.Argument(help="another one")] = "current",
    team: Team = "demo",
) -> None:
    """Show what changed from one version of a script to another."""
    from lit.features import versions as kept

    typer.echo(kept.diff(workspace_of(team), script, before, after), nl=False)


def delete(
    name: Annotated[str, typer.Argument(help="a feature")],
    script: Annotated[bool, typer.Option("--script", help="it is a script of the team; its versions stay")] = False,
    team: Team = "demo",
) -> None:
    """Delete a feature, or a script, that nothing uses."""
    from lit.features import versions as kept

    (kept.delete_script if script else kept.delete_feature)(workspace_of(team), name)
    typer.echo(f"deleted: {name}")


def _pairs(param: list[str] | None) -> dict[str, str]:
    from lit.streams.errors import UserError

    pairs = {}
    for text in param or []:
        name, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"parameter {text!r} has no value: write name=value")
        pairs[name] = value
    return pairs


def _script(workspace: Workspace, name: str, param: list[str] | None) -> tuple[str, dict[str, Any]]:
    """Return script and parameters: of the feature of that name, else the script of that name."""
    from lit.features.library import feature_names, read_feature

    if name not in feature_names(workspace):
        return name, dict(_pairs(param))
    saved = read_feature(workspace, name)
    return saved["script"], {**saved["params"], **_pairs(param)}


@contextmanager
def _tapes(workspace: Workspace, adapter: str, on: list[Path] | None) -> Iterator[list[Path]]:
    import tempfile

    from lit.features.tapes import tapes_of_files

    with tempfile.TemporaryDirectory() as folder:
        yield tapes_of_files(workspace, adapter, on, Path(folder)) if on else []


@contextmanager
def _dataset(
    workspace: Workspace, adapter: str, on: list[Path] | None, project: str | None
) -> Iterator[tuple[Any, int]]:
    """Yield a dataset and its length: of source files, as tapes; or a project's, by random access if it is cached."""
    from lit.features.kept_tapes import count_ticks
    from lit.sdk.data.adapter import load_adapter_by_project
    from lit.streams.errors import UserError

    if (project is None) == (not on):
        raise UserError("it is not said on what: name either files (--on FILE) or a project (--project NAME)")
    if project is not None:
        opened = load_adapter_by_project(workspace.team, project)
        yield opened, len(opened)
        return
    with _tapes(workspace, adapter, on) as tapes:
        yield tapes, count_ticks(tapes)


def _tell(verdict: dict[str, Any]) -> None:
    typer.echo(
        f"{verdict['feature']}: {verdict['kind']} ({verdict['samples']} samples, {verdict['changes']} other futures). "
        f"{verdict['note']}"
    )
    for line in verdict["evidence"][:3]:
        typer.echo(f"  {line}")


def _table(columns: list[str], rows: list[list[float]], shown: int = 20) -> None:
    texts = [[f"{value:.8g}" for value in row] for row in rows[-shown:]]
    widths = [max(map(len, [name, *(row[n] for row in texts)])) for n, name in enumerate(columns)]
    if len(rows) > shown:
        typer.echo(f"… {len(rows) - shown} rows above")
    for row in [columns, *texts]:
        typer.echo("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())
