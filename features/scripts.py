"""Feature scripts: loading a Python source as a script, and calling it so that its errors name its own lines."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from lit.features.docstring import DocstringError, Documentation, read_documentation
from lit.features.form import Form
from lit.streams.errors import UserError

#: Sort key of a script that has no `sort_key`.
DEFAULT_SORT_KEY = 100.0
_ARGUMENTS = 4


class ScriptError(UserError):
    """A script that can't be loaded, or that failed; the text names the script and its line.

    Parameters
    ----------
    script
        The script's name.
    line
        Line of its source; None where no line is to blame.
    """

    def __init__(self, script: str, line: int | None, message: str) -> None:
        place = f"script {script!r}" + (f", line {line}" if line else "")
        super().__init__(f"{place}: {message}")
        self.script = script
        self.line = line


@dataclass(frozen=True, slots=True)
class Outline:
    """What a script's text says, read without running it.

    Parameters
    ----------
    name, path, source, digest
        Which script this is; the digest is `sha256:` of the source.
    plugin
        The plugin that ships it; empty: the team's own.
    summary, form, columns
        What its docstring says; no columns: named by number once their count is known.
    """

    name: str
    path: Path
    source: str
    digest: str
    plugin: str
    summary: str
    form: Form
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script(Outline):
    """A loaded script; features of lower `sort_key` are computed first."""

    sort_key: float = DEFAULT_SORT_KEY
    _feature: Callable[..., Any] = field(default=lambda: None, repr=False)
    _batch: Callable[..., Any] | None = field(default=None, repr=False)

    @property
    def batched(self) -> bool:
        """Whether it has a `feature_batch`."""
        return self._batch is not None

    def feature(self, adapter: Any, index: int, params: dict[str, Any], others: dict[str, Any]) -> Any:
        """Call `feature`; its errors become `ScriptError`, `NeedMoreData` passes."""
        return self._call(self._feature, adapter, index, params, others)

    def feature_batch(self, adapter: Any, indices: Any, params: dict[str, Any], others: dict[str, Any]) -> Any:
        """Call `feature_batch`, as `feature`."""
        if self._batch is None:
            raise ScriptError(self.name, None, "it has no feature_batch")
        return self._call(self._batch, adapter, indices, params, others)

    def fresh(self) -> Script:
        """Return this script with a module of its own, that has computed nothing yet."""
        module = _run_module(self)
        feature = _function(self.name, module, "feature") or self._feature
        return replace(self, _feature=feature, _batch=_function(self.name, module, "feature_batch"))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except ScriptError:
            raise
        except Exception as error:
            raise failure(self.name, self.path, error) from error


def read_outline(path: Path, source: str | None = None, plugin: str = "") -> Outline:
    """Read a script without running it.

    Parameters
    ----------
    path
        Its file; the stem is the script's name.
    source
        Its text where it is not (yet) what the file holds.
    plugin
        Name of the plugin that ships it.

    Raises
    ------
    ScriptError
        If the source is no Python, or its docstring no form.
    """
    name = path.stem
    if source is None:
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScriptError(name, None, f"{path} can't be read as UTF-8 text: {error}") from None
    documentation = _documentation(name, source)
    digest = source_digest(source)
    return Outline(name, path, source, digest, plugin, documentation.summary, documentation.form, documentation.columns)


def source_digest(source: str) -> str:
    """Return `sha256:…` of a script's source: which script this is."""
    return "sha256:" + hashlib.sha256(source.encode()).hexdigest()


def load_script(path: Path, source: str | None = None, plugin: str = "") -> Script:
    """Load a script, running its module; parameters as of `read_outline`.

    Raises
    ------
    ScriptError
        If the source is no script: syntax, docstring, missing `feature`, errors while its module runs.
    """
    outline = read_outline(path, source, plugin)
    module = _run_module(outline)
    function = _function(outline.name, module, "feature")
    if function is None:
        message = "it defines no function 'feature(adapter, index, params={}, other_features={})'"
        raise ScriptError(outline.name, None, message)
    return Script(
        **{name: getattr(outline, name) for name in Outline.__slots__},
        sort_key=_sort_key(outline.name, path, module),
        _feature=function,
        _batch=_function(outline.name, module, "feature_batch"),
    )


def _documentation(name: str, source: str) -> Documentation:
    try:
        return read_documentation(ast.parse(source))
    except SyntaxError as error:
        raise ScriptError(name, error.lineno, f"it is not Python: {error.msg}") from None
    except ValueError as error:  # null bytes
        raise ScriptError(name, None, f"it is not Python: {error}") from None
    except DocstringError as error:
        raise ScriptError(name, error.line, str(error).partition(": ")[2]) from None


def _run_module(script: Outline) -> ModuleType:
    module = ModuleType(f"lit_script_{script.name}_{script.digest[7:15]}")
    module.__file__ = str(script.path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look modules up by name
    try:
        exec(_compiled(script.source, str(script.path)), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise failure(script.name, script.path, error) from error
    return module


@lru_cache(maxsize=64)
def _compiled(source: str, filename: str) -> CodeType:
    return compile(source, filename, "exec", dont_inherit=True)


def _function(script: str, module: ModuleType, name: str) -> Callable[..., Any] | None:
    """Return the function, taking four arguments by position whatever it calls them, or however few it has."""
    function = getattr(module, name, None)
    if function is None:
        return None
    if not callable(function):
        raise ScriptError(script, None, f"{name!r} is no function")
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    count = sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        count = _ARGUMENTS
    if not 2 <= count <= _ARGUMENTS:
        line = function.__code__.co_firstlineno if hasattr(function, "__code__") else None
        what = "index" if name == "feature" else "indices"
        message = f"{name} takes {count} arguments: write {name}(adapter, {what}, params, other_features)"
        raise ScriptError(script, line, message)
    if count == _ARGUMENTS:
        return function  # type: ignore[no-any-return]
    return lambda *arguments: function(*arguments[:count])


def _sort_key(name: str, path: Path, module: ModuleType) -> float:
    function = getattr(module, "sort_key", None)
    if function is None:
        return DEFAULT_SORT_KEY
    try:
        return float(function())
    except Exception as error:
        raise failure(name, path, error, "sort_key must return a number; ") from error


def failure(script: str, path: Path, error: BaseException, hint: str = "") -> ScriptError:
    """Tell an exception as the script's author should read it: with the last line of the script it went through."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return ScriptError(script, error.lineno, f"it is not Python: {error.msg}")
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".removesuffix(": ")
    return ScriptError(script, lines[-1] if lines else None, hint + text)
