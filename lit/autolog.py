"""Parameters of Keras models that a program trains within `lit.run`, noted without the program saying so.

`model.fit` is wrapped as long as the run lasts: what it was called with, optimizer, loss, metrics, layers and
callbacks go into the run's definition.json before the training begins.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit.code_run import CodeRun

_PLAIN = (int, float, str, bool, type(None))
_NAME = "_lit_wrapped"


def attach(run: CodeRun) -> None:
    """Note the parameters of each `fit` from now on in this run; does nothing while the program has no Keras."""
    keras = sys.modules.get("keras")
    model = getattr(keras, "Model", None)
    if model is None:
        return
    detach()
    original = model.fit

    @functools.wraps(original)
    def fit(self: Any, *given: Any, **named: Any) -> Any:
        try:
            run.describe(parameters=parameters(self, inspect.signature(original).bind(self, *given, **named)))
        except Exception as error:  # a note that can't be taken is no reason to lose a training
            run.folder.log(f"parameters are not noted: {type(error).__name__}: {error}")
        return original(self, *given, **named)

    setattr(fit, _NAME, original)
    model.fit = fit


def detach() -> None:
    """Take the wrap off."""
    model = getattr(sys.modules.get("keras"), "Model", None)
    if original := getattr(getattr(model, "fit", None), _NAME, None):
        model.fit = original  # type: ignore[union-attr]  # there is a model, as it has the wrap


def parameters(model: Any, call: inspect.BoundArguments) -> dict[str, Any]:
    """Return what a call of `fit` trains and how, JSON-able; data as its shape and type."""
    call.apply_defaults()
    given = {name: _plain(value) for name, value in call.arguments.items() if name not in ("self", "callbacks")}
    optimizer = getattr(model, "optimizer", None)
    return {
        **given,
        "callbacks": [_described(each) for each in _listed(call.arguments.get("callbacks"))],
        "loss": _plain(getattr(model, "loss", None)),
        "metrics": [_plain(each) for each in _listed(getattr(model, "_compile_metrics", None) and _metrics(model))],
        "optimizer": {name: _plain(value) for name, value in optimizer.get_config().items()} if optimizer else {},
        "layers": [_described(layer, layer.get_config) for layer in model.layers],
        "weights": model.count_params() if model.built else None,
    }


def _metrics(model: Any) -> Any:
    return getattr(model._compile_metrics, "_user_metrics", None)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _described(thing: Any, config: Any = None) -> dict[str, Any]:
    """Return the class of a layer or callback with its plain settings."""
    try:
        values = config() if config else vars(thing)
    except Exception:  # layers of the program's own may have no config
        values = {}
    kept = {name: value for name, value in values.items() if isinstance(value, _PLAIN) and not name.startswith("_")}
    return {"class": type(thing).__name__, **kept}


def _plain(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple) and len(value) <= 100:
        return [_plain(each) for each in value]
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {tuple(value.shape)}"
    return getattr(value, "__name__", None) or type(value).__name__
