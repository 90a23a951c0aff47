"""`lit insight`: why a deployment predicted what it did, and what it would say of other inputs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lit.serving.insight import Cell
    from lit.serving.insights import Situation


#: Cells that are listed, and rows of the inputs; and how wide a column's chart is.
_SHOWN, _ROWS, _WIDTH = 20, 10, 60
_BLOCKS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("insight")(insight)


def insight(
    deployment: Annotated[str, typer.Argument(help="the deployment")],
    index: Annotated[
        int | None, typer.Argument(help="the prediction's `index`, as its topic has it; left out: the last prediction")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="needed where several symbols have one at this index")] = None,
    model: Annotated[str | None, typer.Option(help="the vault item; needed where several models predicted")] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option("--set", help="another input: FEATURE.COLUMN[ROW]=VALUE, -1 is the newest row; repeatable"),
    ] = None,
    inputs: Annotated[bool, typer.Option("--inputs", help="also what the model saw, as charts and a table")] = False,
    cells: Annotated[bool, typer.Option("--cells", help="also the most influential cells")] = False,
    output: Annotated[int | None, typer.Option(help="which output of the model; left out: the largest")] = None,
    team: Annotated[str, typer.Option(help="the team")] = "demo",
    as_json: Annotated[bool, typer.Option("--json", help="machine output")] = False,
) -> None:
    """Explain a prediction: inputs computed again, saliency and independence of each column; or what if (`--set`).

    Saliency is a column's Shapley value: all of them add up to the prediction less that of usual inputs. Independence
    is how much of a column's effect stands without the other columns, from 0 to 1.
    """
    from lit.sdk.insights import insights as opened

    with opened() as insights:
        found = insights.situation(team, deployment, index, symbol, model)
        edits = [_edit(found, text) for text in edit or []]
        said: dict[str, Any] = {}
        if edits:
            said["what_if"] = insights.what_if(team, found, edits, output)
        else:
            said["impact"] = insights.impact(team, found, output)
        if cells:
            said["cells"] = insights.influences(team, found, output)
    if as_json:
        return _json(found, said)
    _show(found, said)
    for line in pictured(found.inputs, found.columns) if inputs else ():
        typer.echo(line)
    return None


def pictured(inputs: Mapping[str, Any], columns: Mapping[str, list[str]]) -> list[str]:
    """Return inputs as lines of text: a chart of each column over its last rows, then the newest rows as a table."""
    lines: list[str] = []
    for feature, value in inputs.items():
        names, rows = columns[feature], value if value.ndim == 2 else value[None]
        lines.append(f"{feature}, {len(rows)} rows, the newest last" if value.ndim == 2 else feature)
        width = max(map(len, names))
        for name, column in zip(names, rows.T.tolist(), strict=True):
            span = f"{min(column):.6g} … {max(column):.6g}"
            lines.append(f"  {name:<{width}}  {_chart(column[-_WIDTH:])}  {span}, newest {column[-1]:.6g}")
        if value.ndim == 2:
            lines.append("     row" + "".join(f"{name:>{max(12, len(name) + 2)}}" for name in names))
            first = max(0, len(rows) - _ROWS)
            for number, row in enumerate(rows[first:].tolist(), first):
                cells = (f"{one:>{max(12, len(name) + 2)}.6g}" for name, one in zip(names, row, strict=True))
                lines.append(f"{number:>8}" + "".join(cells))
    return lines


def _chart(values: list[float]) -> str:
    finite = [one for one in values if math.isfinite(one)] or [0.0]
    low, step = min(finite), (max(finite) - min(finite)) / len(_BLOCKS) or 1.0
    return "".join(
        _BLOCKS[min(int((one - low) / step), len(_BLOCKS) - 1)] if math.isfinite(one) else " " for one in values
    )


def _edit(found: Situation, text: str) -> tuple[Cell, float]:
    import re

    from lit.streams.errors import UserError

    match = re.fullmatch(r"(.+)\.([^.\[\]]+)(?:\[(-?\d+)\])?=(.+)", text)
    try:
        if match:
            row = None if match[3] is None else int(match[3])
            return found.cell(match[1], row, match[2]), float(match[4])
    except ValueError:
        pass
    raise UserError(f"--set {text!r} is no input: write FEATURE.COLUMN[ROW]=VALUE, such as bars.volume[-1]=0")


def _show(found: Situation, said: dict[str, Any]) -> None:
    told = found.prediction
    typer.echo(
        f"{told.symbol} {told.bar_start}: {told.model} (epoch {told.epoch}) predicted "
        f"{', '.join(f'{value:.6g}' for value in told.prediction)}"
    )
    for note in found.notes or ["The inputs computed again are those that were predicted from."]:
        typer.echo(note)
    if impact := said.get("impact"):
        _show_impact(impact)
    for cell in said.get("cells", {}).get("cells", [])[:_SHOWN]:
        typer.echo(f"{_cell(cell)} = {cell['value']:.6g}, usually {cell['usual']:.6g}: {cell['effect']:+.6g}")
    if what_if := said.get("what_if"):
        for one in what_if["edits"]:
            typer.echo(f"{_cell(one)}: {one['before']:.6g} → {one['after']:.6g}, alone {one['alone']:+.6g}")
        number = what_if["output"]
        typer.echo(
            f"then it says {what_if['prediction'][number]:.6g} instead of {what_if['original'][number]:.6g} "
            f"({what_if['difference']:+.6g})"
        )


def _show_impact(impact: dict[str, Any]) -> None:
    background = impact["background"]
    typer.echo(
        f"of usual inputs it says {impact['base']:.6g} (mean of {background['rows']} samples of "
        f"{background['symbol'] or 'any symbol'} in asset {background['asset']}"
        f"{'' if background['is_training_asset'] else ', built anew since'})"
    )
    lines = [("saliency", "alone", "independence", "column")]
    lines += [_line(part) for part in impact["columns"]]
    if len(impact["features"]) > 1:
        lines += [_line(part) for part in impact["features"]]
    for saliency, alone, independence, name in lines:
        typer.echo(f"{saliency:>12}{alone:>12}{independence:>14}  {name}")


def _line(part: dict[str, Any]) -> tuple[str, str, str, str]:
    name = part["feature"] if part["column"] is None else f"{part['feature']}.{part['column']}"
    independence = "no effect" if part["independence"] is None else f"{part['independence']:.3f}"
    return f"{part['saliency']:+.6f}", f"{part['alone']:+.6f}", independence, name


def _cell(cell: dict[str, Any]) -> str:
    row = "" if cell["row"] is None else f"[{cell['row']}]"
    return f"{cell['feature']}.{cell['column']}{row}"


def _json(found: Situation, said: dict[str, Any]) -> None:
    import msgspec

    shown = {
        "prediction": found.prediction,
        "inputs": {name: value.tolist() for name, value in found.inputs.items()},
        "columns": found.columns,
        "same_inputs": found.same_inputs,
        "same_prediction": found.same_prediction,
        "notes": found.notes,
        **said,
    }
    typer.echo(msgspec.json.encode(shown).decode())
