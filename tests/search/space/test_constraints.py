"""Constraints: what they mean, what they refuse."""

from __future__ import annotations

import pytest

from sentiment.errors import ConfigError
from sentiment.search.space.constraints import holds, parse_constraints


@pytest.mark.parametrize(
    ("text", "values", "is_kept"),
    [
        ("model.embedding_size % model.heads == 0", {"model.embedding_size": 64, "model.heads": 4}, True),
        ("model.embedding_size % model.heads == 0", {"model.embedding_size": 64, "model.heads": 3}, False),
        ("model.name != 'rnn' or model.depth <= 2", {"model.name": "rnn", "model.depth": 3}, False),
        ("model.name != 'rnn' or model.depth <= 2", {"model.name": "gru", "model.depth": 3}, True),
        ("model.name in ('rnn', 'gru')", {"model.name": "gru"}, True),
        ("not a.b.c", {"a.b.c": 0}, True),
        ("1 < x < 3", {"x": 2}, True),
        ("max(x, y) - abs(y) <= min(3, x)", {"x": 2, "y": -5}, True),
        ("x == (2 if y else 3)", {"x": 3, "y": False}, True),
        ("  x > 1 ", {"x": 1}, False),
        ("x is not None", {"x": None}, False),
        ("x != 'wide'", {"x": 3}, True),
        ("x != None", {"x": 3}, True),
        ("x in (None, 2, 'auto')", {"x": 2}, True),
        ("x != '2021'", {"x": None}, True),
        ("x in ['4', 'auto']", {"x": None}, False),
        ("x != '16' or x is None", {"x": None}, True),
        ("x != '1'", {"x": True}, True),
        ("x != '_' and x != '.' and x != '4 # x' and x != '1,2'", {"x": 4}, True),
        ("x == ['a', 4]", {"x": ["a", 4]}, True),
    ],
)
def test_an_expression_holds_or_not(text, values, is_kept):
    assert holds(parse_constraints([text]), values) is is_kept


def test_a_constraint_on_an_absent_key_is_satisfied():
    constraints = parse_constraints(["model.heads > 4", "x < 1"])
    assert holds(constraints, {"x": 0})
    assert [one.text for one in constraints if not holds([one], {"x": 2})] == ["x < 1"]


def test_no_constraints_hold_always():
    assert holds(parse_constraints([]), {})


def test_names_are_whole_keys_without_functions():
    one, other = parse_constraints(["min(a.b, c) > 1", "d.e.f != a.b"])
    assert one.keys | other.keys == {"a.b", "c", "d.e.f"}


@pytest.mark.parametrize(
    "text",
    [
        "x ==",
        "x = 3",
        "",
        "x; y",
        "__import__('os').system('true') or x",
        "open('file') and x",
        "x.y()",
        "(lambda: x)()",
        "[y for y in x]",
        "x[0]",
        "'a'.upper() == x",
        "f'{x}' == 'a'",
        "min(x, key=y)",
        "randint(3) == x",
        "3 > 2",
        "(x := 3)",
    ],
)
def test_other_syntax_is_a_fault_that_names_the_expression(text):
    with pytest.raises(ConfigError) as caught:
        parse_constraints(["x > 1", text])
    (fault,) = caught.value.faults
    assert fault.key == text
    assert "model.heads == 0" in fault.remedy


def test_every_unreadable_constraint_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_constraints(["x ==", "y > 1", "z["])
    assert [fault.key for fault in caught.value.faults] == ["x ==", "z["]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x % y == 0", {"x": 1, "y": 0}),
        ("x < 3", {"x": "a"}),
        ("x ** y > 1", {"x": 9, "y": 10**9}),
        ("x != '4'", {"x": 4}),
        ("x not in ['1', '2']", {"x": 1}),
        ("x == 4", {"x": "4"}),
        ("x != 'true'", {"x": True}),
        ("x != 'null'", {"x": None}),
        ("x == [4]", {"x": ["4"]}),
        ("x != 'inf'", {"x": 1.5}),
        ("x in ['auto', '1_000']", {"x": 1000}),
    ],
)
def test_a_constraint_that_cannot_be_evaluated_says_where(text, values):
    with pytest.raises(ConfigError, match="cannot be evaluated at x=") as caught:
        holds(parse_constraints([text]), values)
    assert caught.value.faults[0].key == text
