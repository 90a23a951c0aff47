"""Docstrings of scripts as forms: every notation, and what malformed ones are told."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit.features.docstring import DocstringError, Documentation, read_documentation
from lit.streams.errors import UserError


def read(docstring: str) -> Documentation:
    return read_documentation(ast.parse(f'"""{textwrap.dedent(docstring)}"""'))


def parameters(body: str) -> Documentation:
    return read("Parameters\n----------\n" + textwrap.dedent(body))


def test_types_choices_bounds_defaults_and_examples_become_fields() -> None:
    form = parameters(
        """\
        rate : number
            Bars of the window; e.g. [10]-day average of 30 days
        unit :  [hour,minute,second]
            e.g. 10 1-[second] bars
        count: integer >= 1, <= 500, default 30
        width : number > 0, default 0.5
        smooth : boolean, default true
        note : text, optional
        mode : {'fast', 'slow'}, default slow
        base : feature
        """
    ).form
    rate, unit, count, width, smooth, note, mode, base = form.fields
    assert (rate.kind, rate.example, rate.default) == ("number", 10, None)
    assert (unit.kind, unit.choices, unit.example) == ("choice", ("hour", "minute", "second"), "second")
    assert (count.kind, [str(b) for b in count.bounds], count.default) == ("integer", [">= 1", "<= 500"], 30)
    assert (width.default, smooth.default, note.kind, base.kind) == (0.5, True, "text", "feature")
    assert (mode.choices, mode.default) == (("fast", "slow"), "slow")
    assert form.defaults == {"count": 30, "width": 0.5, "smooth": True, "mode": "slow"}
    assert rate.help == "Bars of the window; e.g. [10]-day average of 30 days"


@pytest.mark.parametrize(
    ("returns", "columns"),
    [
        ("[ label ]", ("label",)),
        ("[ open, high,\n  low ]", ("open", "high", "low")),
        ("sma : number\n    the average\nspread : number", ("sma", "spread")),
        ("low, high : number", ("low", "high")),
        ("", ()),
    ],
)
def test_returns_name_the_columns(returns: str, columns: tuple[str, ...]) -> None:
    assert read(f"Title.\n\nReturns\n-------\n{returns}\n").columns == columns


def test_the_summary_is_the_first_paragraph() -> None:
    assert read("\nA line\nand another.\n\nMore.\n\nReturns\n-------\n[ a ]\n").summary == "A line and another."


def test_the_function_s_docstring_counts_where_the_module_s_has_no_section() -> None:
    function = 'def feature(adapter, index):\n    """Do it.\n\n    Parameters\n    ----------\n    n : int\n    """\n'
    source = f'"""About."""\n{function}'
    assert [field.name for field in read_documentation(ast.parse(source)).form.fields] == ["n"]


def test_a_script_without_docstring_has_an_empty_form() -> None:
    documentation = read_documentation(ast.parse("x = 1\n"))
    assert documentation.form.fields == () and documentation.columns == ()


@pytest.mark.parametrize(
    ("docstring", "line", "says"),
    [
        ("\nParameters\n----------\ncount number\n", 4, "name : type"),
        ("\nParameters\n----------\ncount : quaternion\n", 4, "unknown type"),
        ("\nParameters\n----------\nunit : [hour, minute\n", 4, "not closed"),
        ("\nParameters\n----------\nunit : []\n", 4, "empty"),
        ("\nParameters\n----------\nunit : [a, a]\n", 4, "twice"),
        ("\nParameters\n----------\nn : number\nn : number\n", 5, "twice"),
        ("\nParameters\n----------\n    lost\nn : number\n", 4, "describes nothing"),
        ("\nParameters\n----------\nn : number, default many\n", 4, "give a number"),
        ("\nParameters\n----------\nn : number >= 2, default 1\n", 4, ">= 2"),
        ("\nParameters\n----------\nn : number, roughly\n", 4, "'roughly'"),
        ("\nParameters\n----------\nn : text >= 2\n", 4, "no number"),
        ("\nParameters\ncount : number\n", 2, "dashes"),
        ("\nReturns\n-------\n[ a, b\n", 4, "not closed"),
        ("\nReturns\n-------\n[ a, a ]\n", 4, "twice"),
        ("\nReturns\n-------\nndarray\n", 4, "names no column"),
        ("\nReturns\n-------\n[ a ]\n\nReturns\n-------\n[ b ]\n", 6, "twice"),
    ],
)
def test_malformed_docstrings_are_told_the_line_and_the_fix(docstring: str, line: int, says: str) -> None:
    with pytest.raises(DocstringError, match=f"^line {line}: .*{says}") as caught:
        read(docstring)
    assert caught.value.line == line


def test_values_are_brought_to_their_type() -> None:
    form = parameters("n : number\nk : integer >= 1, default 3\nb : boolean\nunit : [hour, minute]\nt : text\n").form
    assert form.check({"n": "2.0", "b": "false", "unit": "mins", "t": "x", "k": None}) == {
        "n": 2,
        "k": 3,
        "b": False,
        "unit": "minute",
        "t": "x",
    }
    assert form.check({}) == {"k": 3}, "what has no default stays missing: the script's own default counts"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"n": "ten"}, "'n' is 'ten': give a number"),
        ({"n": float("nan")}, "give a number"),
        ({"n": True}, "give a number"),
        ({"k": 1.5}, "whole number"),
        ({"k": 0}, ">= 1"),
        ({"b": "perhaps"}, "true or false"),
        ({"unit": "fortnight"}, "choose one of hour, minute"),
        ({"other": 1}, "unknown .known: n, k, b, unit"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(params: dict[str, object], says: str) -> None:
    form = parameters("n : number\nk : integer >= 1\nb : boolean\nunit : [hour, minute]\n").form
    with pytest.raises(UserError, match=says):
        form.check(params)


#: Lines that are right, wrong, or almost right.
LINES = [
    "Parameters",
    "----------",
    "Returns",
    "-------",
    "n : integer >= 1, default 30",
    "u : [hour, minute]",
    "x :",
    "x : [",
    "x : []",
    "x : {a, b}",
    "x : number >=",
    "x : number >= a",
    "x : number, default",
    "x : boolean, default maybe",
    "    help [5]",
    "\thelp",
    "[ a, b ]",
    "[ a",
    "[]",
    "a : float",
    "a, b : float",
    "é : number",
    "x : number >= 1e400",
    "x : number, default 1e999",
    "x:number",
    "1x : number",
    "x : feature",
    "x : number < 1 > 2, default 1.5",
    "x : number, default nan",
    "x : [1, 2], default 2",
    " ]",
    "Notes",
    "-----",
    "",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(LINES) | st.text("[]:,=<>-ab1 \t", max_size=12), max_size=9))
def test_whatever_a_docstring_says_it_is_a_form_or_told_with_its_line(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        documentation = read(f"\n{text}\n")
    except DocstringError as error:
        assert 1 <= error.line <= len(lines) + 3
    else:
        assert len(documentation.form.fields) <= len(lines)
