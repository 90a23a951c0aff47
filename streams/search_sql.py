"""A search's tree as a condition of ClickHouse: every value and every adapter's field is a bound parameter."""

from __future__ import annotations

from typing import Any

from lit.streams.search import All, Any_, Compare, Condition, Not, Text

#: Columns of the fields that all ticks have; the others are entries of the map `extras`.
COLUMN_OF = {
    "symbol": "symbol",
    "Price": "price",
    "Volume": "volume",
    "Seq. No.": "seq_no",
    "session": "session",
    "Qualifiers": "qualifiers",
    "timestamp": "timestamp",
    "Date-Time": "timestamp",
}
_OPERATORS = {"=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_CASTS = {"number": "toFloat64OrNull", "integer": "toInt64OrNull"}


def condition(search: Condition) -> tuple[str, dict[str, Any]]:
    """Return a condition and its bound parameters (`q0`, `q1`, …); a null field fulfils nothing but a `not`."""
    values: dict[str, Any] = {}
    return _sql(search, values), values


def _sql(node: Condition, values: dict[str, Any]) -> str:
    if isinstance(node, Not):
        return f"NOT ({_sql(node.term, values)})"
    if isinstance(node, All | Any_):
        joint = " AND " if isinstance(node, All) else " OR "
        return "(" + joint.join(_sql(term, values) for term in node.terms) + ")"
    if isinstance(node, Compare):
        field = _field(node.field, values, _CASTS.get(node.kind))
        return f"ifNull({field} {_OPERATORS[node.operator]} {_bound(node.value, values)}, 0)"
    needle = _bound(node.text if isinstance(node, Text) else node.regex, values)
    test = "position({}, {}) > 0" if isinstance(node, Text) else "match({}, {})"
    return "(" + " OR ".join(f"ifNull({test.format(_field(f, values), needle)}, 0)" for f in node.fields) + ")"


def _field(name: str, values: dict[str, Any], cast: str | None = None) -> str:
    if name in COLUMN_OF:
        return COLUMN_OF[name]
    entry = f"extras[{_bound(name, values)}]"
    return f"{cast}({entry})" if cast else entry


def _bound(value: int | float | str, values: dict[str, Any]) -> str:
    name = f"q{len(values)}"
    values[name] = value
    kind = "String" if isinstance(value, str) else "Int64" if isinstance(value, int) else "Float64"
    return f"{{{name}:{kind}}}"
