"""Vault items whose layers are a team's own: rebuilt from their kept sources, once somebody has allowed just these.

A model file never brings code along: where Keras itself knows every layer, the file's config and weights are enough
(`lit.serving.safe_load`). Layer classes that a component defines, and Lambdas, exist in the component's source alone.
An item keeps that source with its canvas, and a digest of both. `trust` writes this machine's word for the digest
(`$LIT_DATA/.lit/trusted/{team}.json`, outside of what teams upload or copy in); only then does `rebuild` run it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit.streams.errors import FaultError, UserError
from lit.streams.tick import iso_ms
from lit.trainer.asset import FeatureSpec
from lit.trainer.canvas import parse_canvas
from lit.trainer.component import read_component
from lit.trainer.vault import VaultItem, code_digest


def own_layers(model: Any) -> list[str]:
    """Return the names of a model's layer classes that Keras does not know, or that run code of their own."""
    names = {type(layer).__name__ for layer in _all_layers(model) if not type(layer).__module__.startswith("keras.")}
    return sorted(names | {"Lambda" for layer in _all_layers(model) if type(layer).__name__ == "Lambda"})


def trusted(item: VaultItem) -> bool | None:
    """Tell whether an item's own code may be run here; None if it has none, so that there is nothing to allow."""
    if not item.own_layers:
        return None
    return _book(item).get(item.name, {}).get("code") == item.code


def trust(item: VaultItem, by: str) -> None:
    """Allow this machine to run the code that an item's layers need.

    Raises
    ------
    UserError
        If the item needs none, or is of a program, whose layers can't be rebuilt.
    FaultError
        If its canvas or sources are not those that were put there.
    """
    if not item.own_layers:
        raise UserError(f"vault item {item.name!r} has no code of its own: it loads as it is")
    _checked_code(item)
    _write(item, _book(item) | {item.name: {"code": item.code, "by": by, "at": iso_ms(time.time_ns())}})


def distrust(item: VaultItem) -> None:
    """Take the word back."""
    _write(item, {name: said for name, said in _book(item).items() if name != item.name})


def check_trusted(item: VaultItem) -> None:
    """Raise `UserError`, saying what to do, if the item needs code that nobody has allowed here."""
    if not item.own_layers:
        return
    _checked_code(item)
    if not trusted(item):
        raise UserError(
            f"vault item {item.name!r} has layers of the team's own ({', '.join(item.own_layers)}), which run code: "
            f"read it with `lit vault code {item.name!r}`, then allow it with `lit vault trust {item.name!r}`"
        )


def rebuild(item: VaultItem) -> Any:
    """Build a trusted item's model from its canvas and the component sources kept with it, and load its weights.

    Raises
    ------
    UserError
        If it has not been trusted; the sentence says how.
    FaultError
        If its canvas or sources are not those that were put there, or the weights do not fit.
    """
    from lit.trainer.compiler import compile_canvas

    check_trusted(item)
    canvas, sources = _checked_code(item)
    components = {name: read_component(name, source) for name, source in sources.items()}
    specs: dict[str, FeatureSpec] = {spec.name: spec for spec in (*item.inputs, item.label)}
    model = compile_canvas(parse_canvas(canvas), components, specs).model
    try:
        model.load_weights(item.model)
    except ValueError as error:
        raise FaultError(f"the weights of vault item {item.name!r} do not fit its canvas: {error}") from error
    return model


def _checked_code(item: VaultItem) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    canvas, sources = item.lineage.get("canvas"), item.lineage.get("components")
    if not canvas or not sources:
        raise UserError(
            f"vault item {item.name!r} is of a program, so LIT has no canvas to rebuild it from: load its model in a "
            "program of your own with keras.models.load_model(path, safe_mode=False)"
        )
    if code_digest(item.lineage) != item.code:
        raise FaultError(f"canvas or sources of vault item {item.name!r} have changed since it was put there")
    return canvas, sources


def _all_layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False, recursive=True))


def _path(item: VaultItem) -> Path:
    team = item.path.parents[1]
    return team.parent / ".lit" / "trusted" / f"{team.name}.json"


def _book(item: VaultItem) -> dict[str, Any]:
    path = _path(item)
    book: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return book


def _write(item: VaultItem, book: dict[str, Any]) -> None:
    path = _path(item)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(book, indent=2) + "\n", "utf-8")
    draft.chmod(0o600)
    draft.replace(path)
