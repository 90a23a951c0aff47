"""The docstring of a feature script, read as a form: which parameters a user fills in, and what columns come out.

Notation (numpydoc sections; the module's docstring, or that of `feature`)::

    Parameters
    ----------
    count : integer >= 1, default 30
        Length of the line; e.g. [100] points
    unit : [hour, minute, second], default minute
        What a bar spans
    smooth : boolean, optional

    Returns
    -------
    [ sma, sma_normalized ]

Types: `number`, `integer`, `boolean`, `text`, `feature` (the name of another feature) or a list of choices. A number
may have bounds. A choice or number in brackets within the description is an example: forms start with it, but only a
`default` is filled in where a value is missing. Returns are a bracketed list of columns, or numpydoc entries
(`name : type`).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from lit.features.form import Bound, Field, Form
from lit.streams.errors import UserError

_TYPES = {
    "number": "number",
    "float": "number",
    "integer": "integer",
    "int": "integer",
    "boolean": "boolean",
    "bool": "boolean",
    "text": "text",
    "string": "text",
    "str": "text",
    "feature": "feature",
}
_NOT_COLUMNS = {"list", "array", "ndarray", "float", "number", "tuple", "np.ndarray", "numpy.ndarray"}
_FIELD = re.compile(r"([A-Za-z_]\w*)\s*:\s*(.+)")
_CHOICES = re.compile(r"[\[{]([^\]}]*)[\]}]\s*(?:,(.*))?")
_BOUND = re.compile(r"\s*(>=|<=|>|<)\s*(-?\d+(?:\.\d+)?)")
_DEFAULT = re.compile(r"default(?:\s*[:=]\s*|\s+)(.+)")
_EXAMPLE = re.compile(r"\[([^\]]+)\]")
_COLUMN = re.compile(r"[A-Za-z_]\w*")


class DocstringError(UserError):
    """A docstring that is no form; the text begins with the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Documentation:
    """What a script's docstring says."""

    summary: str
    form: Form
    columns: tuple[str, ...]


_Lines = list[tuple[int, str]]


def read_documentation(tree: ast.Module) -> Documentation:
    """Read the docstring of a parsed script.

    Parameters
    ----------
    tree
        The module. Its own docstring counts; where that has no section, the docstring of `feature` does.

    Returns
    -------
    Documentation
        Without a section: an empty form and no column names.

    Raises
    ------
    DocstringError
        If a section does not follow the notation; the message has the script's line and the fix.
    """
    found = [_docstring(tree)]
    found += [_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "feature"]
    texts = [lines for lines in found if lines]
    lines = next((lines for lines in texts if len(_sections(lines)) > 1), texts[0] if texts else [])
    sections = _sections(lines)
    return Documentation(
        _summary(sections[""]),
        Form(tuple(_fields(sections.get("Parameters", [])))),
        tuple(_columns(sections.get("Returns", []))),
    )


def _docstring(node: ast.Module | ast.FunctionDef) -> _Lines:
    """Return the docstring as (line number, text without the common indentation)."""
    first = node.body[0] if node.body else None
    if not (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    ):
        return []
    lines = first.value.value.expandtabs().splitlines()
    margin = min((len(s) - len(s.lstrip()) for s in lines[1:] if s.strip()), default=0)
    texts = [lines[0].strip(), *(line[margin:].rstrip() for line in lines[1:])] if lines else []
    return [(first.value.lineno + i, text) for i, text in enumerate(texts)]


def _sections(lines: _Lines) -> dict[str, _Lines]:
    """Split at underlined headings; the text before the first has the empty name."""
    sections: dict[str, _Lines] = {"": []}
    current, skip = "", False
    for (number, text), (_, below) in zip(lines, [*lines[1:], (0, "")], strict=False):
        if skip:
            skip = False
        elif re.fullmatch(r"[A-Z][A-Za-z ]*", text) and re.fullmatch(r"-{3,}", below):
            current, skip = text.strip(), True
            if current in sections:
                raise DocstringError(number, f"section {current!r} occurs twice: join the two")
            sections[current] = []
        else:
            if text in ("Parameters", "Returns"):
                raise DocstringError(number, f"{text!r} has no line of dashes below it: add {'-' * len(text)!r}")
            sections[current].append((number, text))
    return sections


def _summary(lines: _Lines) -> str:
    paragraph: list[str] = []
    for _, text in lines:
        if not text and paragraph:
            break
        if text:
            paragraph.append(text)
    return " ".join(paragraph)


def _fields(lines: _Lines) -> list[Field]:
    fields: list[Field] = []
    for number, head, help_text in _entries(lines):
        match = _FIELD.fullmatch(head)
        if not match:
            raise DocstringError(number, f"{head!r} is no parameter: write 'name : type', such as 'count : number'")
        if any(field.name == match[1] for field in fields):
            raise DocstringError(number, f"parameter {match[1]!r} is described twice: remove one")
        fields.append(_field(number, match[1], match[2].strip(), help_text))
    return fields


def _entries(lines: _Lines) -> list[tuple[int, str, str]]:
    """Group lines into (line number, unindented line, joined indented lines below it)."""
    entries: list[tuple[int, str, list[str]]] = []
    for number, text in lines:
        if not text.strip():
            continue
        if text[0] != " ":
            entries.append((number, text.strip(), []))
        elif entries:
            entries[-1][2].append(text.strip())
        else:
            raise DocstringError(number, f"{text.strip()!r} describes nothing: put 'name : type' above it, unindented")
    return [(number, head, " ".join(more)) for number, head, more in entries]


def _field(number: int, name: str, notation: str, help_text: str) -> Field:
    choices: tuple[str, ...] = ()
    if notation[0] in "[{":
        listed = _CHOICES.fullmatch(notation)
        if not listed:
            raise DocstringError(number, f"the choices of {name!r} are not closed: write them as [a, b, c]")
        choices = tuple(part.strip().strip("'\"") for part in listed[1].split(","))
        if not all(choices) or len(set(choices)) < len(choices):
            raise DocstringError(number, f"the choices of {name!r} are empty or occur twice: write them as [a, b, c]")
        kind, rest = "choice", listed[2] or ""
    else:
        word = re.match(r"\w+", notation)
        kind = _TYPES.get(word[0].lower(), "") if word else ""
        if not kind:
            raise DocstringError(
                number,
                f"{name!r} has the unknown type {notation!r}: use number, integer, boolean, text, feature or choices "
                "such as [hour, minute, second]",
            )
        rest = notation[word.end() :] if word else ""
    return _with_options(number, Field(name, kind, help_text, choices), rest)


def _with_options(number: int, field: Field, rest: str) -> Field:
    """Read what follows the type: bounds, `optional`, a default; then the example of the description."""
    bounds: list[Bound] = []
    while match := _BOUND.match(rest):
        bounds.append(Bound(match[1], _number(match[2])))
        rest = rest[match.end() :]
        rest = re.sub(r"^\s*(,|and)(?=\s*[<>])", "", rest)
    if bounds and field.kind not in ("number", "integer"):
        raise DocstringError(number, f"{field.name!r} has bounds but is no number: remove them")
    field = Field(field.name, field.kind, field.help, field.choices, tuple(bounds))
    default: Any = None
    for part in (p.strip() for p in re.split(r",(?![^\[]*\])", rest)):
        if match := _DEFAULT.fullmatch(part):
            default = _value(number, field, match[1])
        elif part not in ("", "optional"):
            raise DocstringError(
                number, f"{part!r} of {field.name!r} is not understood: write bounds as '>= 1', then ', default 10'"
            )
    return Field(field.name, field.kind, field.help, field.choices, field.bounds, default, _example(field))


def _value(number: int, field: Field, text: str) -> Any:
    try:
        return field.check(_literal(field, text.strip().strip("`[]")))
    except UserError as error:
        raise DocstringError(number, f"the default of {error}") from None


def _example(field: Field) -> Any:
    for match in _EXAMPLE.finditer(field.help):
        try:
            return field.check(_literal(field, match[1].strip()))
        except UserError:
            continue
    return None


def _literal(field: Field, text: str) -> Any:
    text = text.strip("'\"")
    if field.kind in ("number", "integer"):
        try:
            return _number(text)
        except ValueError:
            return text
    return {"true": True, "false": False}.get(text.lower(), text) if field.kind == "boolean" else text


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _columns(lines: _Lines) -> list[str]:
    filled = [(number, text) for number, text in lines if text.strip()]
    if not filled:
        return []
    number, first = filled[0]
    if first.strip()[0] == "[":
        text = " ".join(text.strip() for _, text in filled)
        listed = re.match(r"\[([^\]]*)\]", text)
        if not listed:
            raise DocstringError(number, "the list of columns is not closed: write it as [ first, second ]")
        named = [(number, part.strip()) for part in listed[1].split(",")]
    else:
        named = [(line, head.split(":")[0].strip()) for line, head, _ in _entries(filled)]
        named = [(line, part.strip()) for line, head in named for part in head.split(",")]
    return _checked_columns(named)


def _checked_columns(named: _Lines) -> list[str]:
    columns: list[str] = []
    for number, name in named:
        if not _COLUMN.fullmatch(name) or name in _NOT_COLUMNS:
            raise DocstringError(
                number, f"{name!r} in Returns names no column: list the columns, such as [ sma, sma_normalized ]"
            )
        if name in columns:
            raise DocstringError(number, f"column {name!r} is named twice in Returns: rename one")
        columns.append(name)
    return columns
