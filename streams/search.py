"""Search strings over ticks: a text, a pattern or comparisons, joined by `and`, `or`, `not` and parentheses.

`ODD[IRGCOND]` finds ticks with that text in any text field, `/ODD.*X/` (`/…/i` whatever the case) those that a regular
expression fits, `Volume > 10000 and not session = 0` those of which the comparisons hold. What was copied out of a
packet can be pasted as it is; a text that holds an operator or `and` goes in quotes. Parsed here into a small tree;
what a tree means to the store is `search_sql`'s.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lit.streams.errors import UserError
from lit.streams.tick import from_iso

#: Kind of each field that all ticks have; the others are an adapter's own.
FIELDS: Mapping[str, str] = {
    "symbol": "text",
    "Price": "number",
    "Volume": "number",
    "Seq. No.": "integer",
    "session": "integer",
    "Qualifiers": "text",
    "timestamp": "integer",
    "Date-Time": "time",
}
MAX_LENGTH, MAX_TERMS = 1000, 40
_INT64 = 2**63

_WORD = re.compile(r"(?:(?<=\s)|^)(and|or)(?=\s|\()", re.IGNORECASE)
_NOT = re.compile(r"not(?=\s|\()", re.IGNORECASE)
_REGEX = re.compile(r"/((?:[^/\\]|\\.)+)/(i?)(?=$|\s|\))")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FIELD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_][\w .\-#/\[\]]*?))\s*(<=|>=|!=|!~|==|=|<|>|~)\s*')
_VALUE = re.compile(r"[^\s()]+")


class Text(msgspec.Struct, frozen=True, tag=True):
    """A text in any of these text fields."""

    fields: tuple[str, ...]
    text: str


class Pattern(msgspec.Struct, frozen=True, tag=True):
    """A regular expression (RE2) that fits any of these text fields."""

    fields: tuple[str, ...]
    regex: str


class Compare(msgspec.Struct, frozen=True, tag=True):
    """A number or text field against a value; `operator` is one of `=`, `<`, `<=`, `>`, `>=`."""

    field: str
    kind: str
    operator: str
    value: int | float | str


class Not(msgspec.Struct, frozen=True, tag=True):
    """What the term does not hold for."""

    term: Condition


class All(msgspec.Struct, frozen=True, tag=True):
    """All terms hold."""

    terms: tuple[Condition, ...]


class Any_(msgspec.Struct, frozen=True, tag="Any"):  # noqa: N801
    """At least one term holds."""

    terms: tuple[Condition, ...]


Condition = Text | Pattern | Compare | Not | All | Any_


def parse(search: str, extras: Mapping[str, str] | None = None) -> Condition:
    """Return what a search string means.

    Parameters
    ----------
    search
        The string, at most 1,000 characters and 40 terms.
    extras
        Kind (`text`, `number`, `integer`) of each field that the dataset has beyond `FIELDS`.

    Raises
    ------
    UserError
        If it cannot be read; the sentence names the place.
    """
    if not search.strip():
        raise UserError("the search string is empty: write a text, /a pattern/, or a comparison such as Volume > 10000")
    if len(search) > MAX_LENGTH:
        raise UserError(f"the search string has {len(search)} characters: at most {MAX_LENGTH} are read")
    if "\0" in search:
        raise UserError("the search string holds a NUL character: no field has one")
    parser = _Parser(search, {**FIELDS, **(extras or {})})
    return parser.whole()


class _Parser:
    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self._text, self._kinds = text, kinds
        self._known = {name.lower(): name for name in kinds}
        self._searched = tuple(name for name, kind in kinds.items() if kind == "text")
        self._at = 0
        self._depth = 0
        self._terms = 0

    def whole(self) -> Condition:
        found = self._any()
        if self._rest().strip():
            raise UserError(
                f"the search string ends before {self._rest().strip()[:40]!r}: quote a text with parentheses"
            )
        return found

    def _rest(self) -> str:
        return self._text[self._at :]

    def _skip(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _word(self, word: str) -> bool:
        self._skip()
        found = _WORD.match(self._text, self._at)
        if found is None or found[1].lower() != word:
            return False
        self._at = found.end()
        return True

    def _any(self) -> Condition:
        terms = [self._all()]
        while self._word("or"):
            terms.append(self._all())
        return terms[0] if len(terms) == 1 else Any_(tuple(terms))

    def _all(self) -> Condition:
        terms = [self._one()]
        while self._word("and"):
            terms.append(self._one())
        return terms[0] if len(terms) == 1 else All(tuple(terms))

    def _one(self) -> Condition:
        self._skip()
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise UserError(f"the search string has more than {MAX_TERMS} terms")
        if found := _NOT.match(self._text, self._at):
            self._at = found.end()
            return Not(self._one())
        if self._text.startswith("(", self._at):
            return self._group()
        if found := _REGEX.match(self._text, self._at):
            self._at = found.end()
            return Pattern(self._searched, _regex(found))
        return self._compare() or self._words()

    def _group(self) -> Condition:
        self._at += 1
        self._depth += 1
        inner = self._any()
        self._skip()
        if not self._text.startswith(")", self._at):
            raise UserError("a parenthesis is not closed in the search string: close it, or put the text in quotes")
        self._at += 1
        self._depth -= 1
        return inner

    def _compare(self) -> Condition | None:
        found = _FIELD.match(self._text, self._at)
        if found is None or _WORD.search(self._text, found.start(), found.start(3)):
            return None
        name = _plain(found[1]) if found[1] is not None else found[2]
        field = self._known.get(name.lower())
        if field is None:
            known = ", ".join(self._kinds)
            raise UserError(f"there is no field {name!r} to compare: use one of {known}; put quotes around a mere text")
        self._at = found.end()
        operator = {"==": "="}.get(found[3], found[3])
        term = self._against(field, operator.removeprefix("!") if operator in ("!=", "!~") else operator)
        return Not(term) if operator.startswith("!") else term

    def _against(self, field: str, operator: str) -> Condition:
        kind = self._kinds[field]
        if operator == "~":
            if kind != "text":
                raise UserError(f"field {field!r} is no text, so no pattern fits it: compare it with = < <= > >=")
            if found := _REGEX.match(self._text, self._at):
                self._at = found.end()
                return Pattern((field,), _regex(found))
            return Pattern((field,), self._value(field))
        if kind == "text" and operator != "=":
            raise UserError(f"field {field!r} is a text: compare it with = or !=, or match it with ~")
        return Compare(field, kind, operator, _typed(field, kind, self._value(field)))

    def _value(self, field: str) -> str:
        if found := _QUOTED.match(self._text, self._at):
            self._at = found.end()
            return _plain(found[1])
        found = _VALUE.match(self._text, self._at)
        if found is None:
            raise UserError(f"field {field!r} is compared with nothing: write a value behind the operator")
        self._at = found.end()
        return found[0]

    def _words(self) -> Condition:
        """A text as it stands, up to the next `and`, `or` or the parenthesis that ends its group; or one in quotes."""
        found = _QUOTED.match(self._text, self._at)
        if found:
            self._at = found.end()
            text = _plain(found[1])
        else:
            word = _WORD.search(self._text, self._at)
            stop = word.start() if word else len(self._text)
            if self._depth and 0 <= (closing := self._text.find(")", self._at)) < stop:
                stop = closing
            text = self._text[self._at : stop].strip()
            self._at = stop
        if not text:
            raise UserError("a term is missing in the search string: write one on each side of `and` and `or`")
        return Text(self._searched, text)


def _regex(found: Any) -> str:
    return ("(?i)" if found[2] else "") + found[1].replace(r"\/", "/")


def _plain(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _typed(field: str, kind: str, value: str) -> int | float | str:
    if kind == "text":
        return value
    try:
        if kind == "time":
            return from_iso(value)
        if kind == "integer" and re.fullmatch(r"[+-]?\d+", value) and -_INT64 <= int(value) < _INT64:
            return int(value)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number
    except (ValueError, IndexError):
        needed = "a time such as 2016-05-18T18:57:55Z" if kind == "time" else "a number"
        raise UserError(f"field {field!r} is compared with {value!r}: write {needed}") from None
