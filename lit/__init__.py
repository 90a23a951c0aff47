"""LIT: from raw tick files to live predictions.

`lit.run` and `lit.callbacks` are loaded when first used, so that `import lit` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lit import callbacks as callbacks
    from lit.code_run import run as run

__all__ = ["callbacks", "run"]


def __getattr__(name: str) -> Any:
    if name == "run":
        return import_module("lit.code_run").run
    if name == "callbacks":
        return import_module("lit.callbacks")
    raise AttributeError(f"module 'lit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
