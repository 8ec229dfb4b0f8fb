"""Constraints that a point of the search space must satisfy, written as expressions over configuration keys."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import product
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from simpleeval import EvalWithCompoundTypes  # type: ignore[import-untyped]

from sentiment.composing import COMPOSE_ERRORS
from sentiment.errors import ConfigError, Fault, gathering
from sentiment.search.space.parameters import Space, read_value

Validity = Callable[[Mapping[str, Any]], bool]
"""Whether a complete point (names to values) satisfies the constraints."""

LONGEST_EXPRESSION = 1000
DEEPEST_EXPRESSION = 50
MOST_BITS = 2048
"""Largest expression, nesting and whole number: each keeps a constraint in microseconds."""

MOST_DIGITS = 100


def _calculate(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Bound an operation: it takes numbers alone, neither texts nor lists, and gives no number beyond `MOST_BITS`."""

    def bounded(*numbers: Any) -> Any:
        if not all(isinstance(number, int | float) for number in numbers):
            raise TypeError("only numbers are calculated with; texts and lists are compared")
        if operation in (operator.pow, operator.lshift) and abs(numbers[1]) > MOST_BITS:
            raise OverflowError(f"{numbers[1]} is too large there")
        if (
            operation is operator.pow
            and isinstance(numbers[0], int)
            and numbers[0].bit_length() * numbers[1] > MOST_BITS
        ):
            raise OverflowError("the power is too large")
        result = operation(*numbers)
        if isinstance(result, int) and result.bit_length() > MOST_BITS:
            raise OverflowError("the number is too large")
        return result

    return bounded


def _compare(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse a text that reads like a number against a number: ``4 != '4'`` is always true, whatever was meant.

    So are true, false and null: the text, without its quotes, is of the other side's kind.
    """

    def compared(one: Any, other: Any) -> Any:
        ones, others = (side if isinstance(side, list | tuple) else [side] for side in (one, other))
        for text, plain in [*product(ones, others), *product(others, ones)]:
            if isinstance(text, str) and not isinstance(plain, str) and _find_kind(text) is _find_kind(plain):
                raise TypeError(f"the text {text!r} is never {plain!r}")
        return operation(one, other)

    return compared


def _find_kind(value: Any) -> type:
    """Return the type of a value, of a text the one that it has where no quotes keep it a text; a number's is float."""
    value = _read_without_quotes(value) if isinstance(value, str) else value
    return float if type(value) is int else type(value)


@cache  # a sampler asks of thousands of points, which have few texts
def _read_without_quotes(text: str) -> Any:
    with suppress(ConfigError):  # it is nothing without quotes
        return read_value(text)
    return text


def _round(number: float, digits: int = 0) -> float:
    if abs(digits) > MOST_DIGITS:
        raise OverflowError(f"{digits} digits are too many")
    return round(number, digits) if digits else round(number)


def _convert(kind: type[int] | type[float]) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        if isinstance(value, str) and len(value) > MOST_DIGITS:
            raise OverflowError(f"a text of {len(value)} characters is too long for a number")
        return kind(value)

    return convert


_FUNCTIONS = {
    "abs": _calculate(abs),
    "min": min,
    "max": max,
    "round": _calculate(_round),
    "int": _convert(int),
    "float": _convert(float),
}
_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Invert: operator.invert,
}  # fmt: skip
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Not: operator.not_, ast.Eq: _compare(operator.eq), ast.NotEq: _compare(operator.ne),
    ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.In: _compare(lambda item, items: item in items), ast.NotIn: _compare(lambda item, items: item not in items),
}  # fmt: skip
_OPERATORS = {**{kind: _calculate(operation) for kind, operation in _ARITHMETIC.items()}, **_COMPARISONS}
_SYNTAX = (
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.expr_context,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
)
_ABSENT = object()
_REMEDY = "write e.g. model.embedding_size % model.heads == 0; texts in quotes; " + ", ".join(_FUNCTIONS) + " are known"


@dataclass(frozen=True)
class Constraint:
    """One expression, parsed."""

    text: str  # the expression as written
    tree: ast.expr  # its syntax tree, each dotted key made one name
    keys: frozenset[str]  # the configuration keys that it names


def parse_constraints(lines: Sequence[str]) -> list[Constraint]:
    """Parse expressions such as ``model.embedding_size % model.heads == 0``.

    Raises:
        ConfigError: One fault for each expression that cannot be read or uses more than the syntax allows.
    """
    constraints: list[Constraint] = []
    faults: list[Fault] = []
    for line in lines:
        with gathering(faults):
            constraints.append(_parse(str(line)))
    if faults:
        raise ConfigError(faults)
    return constraints


def holds(constraints: Sequence[Constraint], values: Mapping[str, Any]) -> bool:
    """Return whether a point satisfies every constraint.

    Args:
        constraints: The constraints; `simpleeval` evaluates them, so they cannot run code.
        values: Dotted keys to values, the swept ones and the rest of the configuration. A constraint that names a key
            which is absent (its branch is not active) counts as satisfied.

    Raises:
        ConfigError: A constraint cannot be evaluated for these values, e.g. it compares a text to a number.
    """
    broken = [one for one in constraints if one.keys <= values.keys() and not _evaluate(one, values)]
    return not broken


def any_point(point: Mapping[str, Any]) -> bool:
    """Return that a point is valid: the `Validity` of a study without constraints, which can be told by it."""
    return True


def make_validity(
    lines: Sequence[str], space: Space, config: DictConfig, compose: Callable[[Sequence[str]], DictConfig]
) -> Validity:
    """Make the test of a point.

    A constraint may name keys that are not searched: they have the value of the configuration that the point composes,
    with its choices of groups. A constraint on a key that is not there (another model has no ``model.heads``) holds.

    Args:
        lines: The constraints.
        space: The space.
        config: The composed configuration of the study.
        compose: Composes overrides.

    Returns:
        Whether a point (parameter names to values) is valid; `any_point` where there are no constraints.

    Raises:
        ConfigError: With every constraint that cannot be read.
    """
    if not lines:
        return any_point
    constraints = parse_constraints(lines)
    names, groups = {key for one in constraints for key in one.keys}, set(map(str, _read_choices(config)))
    composed: dict[tuple[str, ...], tuple[dict[str, Any], set[str]]] = {}

    def is_valid(point: Mapping[str, Any]) -> bool:
        written = space.settings(point)
        settings = {key: value for key, value in written.items() if "${" not in str(value)}
        if names <= settings.keys():
            return holds(constraints, settings)
        choices = space.to_overrides(point, only=lambda key: key.startswith("+") or key in groups)
        if choices not in composed:
            composed[choices] = _read_keys(compose, choices, names)
        rest, linked = composed[choices]
        linked = linked | (names & written.keys())
        if not linked <= settings.keys():  # what is interpolated may be made of what the point sets
            rest = rest | _read_keys(compose, space.to_overrides(point), linked)[0]
        return holds(constraints, {**rest, **settings})

    return is_valid


def _read_choices(config: DictConfig) -> Mapping[Any, Any]:
    return OmegaConf.select(config, "hydra.runtime.choices") or {}


def _read_keys(
    compose: Callable[[Sequence[str]], DictConfig], overrides: Sequence[str], names: Collection[str]
) -> tuple[dict[str, Any], set[str]]:
    """Read keys of a configuration, the option of a group as its value; and which of them are interpolated.

    A member of an enum is its name, as it is where a point sets it, unless it is a number or a text itself.
    """
    try:
        config = compose(overrides)
    except COMPOSE_ERRORS:
        return {}, set()  # explained where every corner is composed
    choices, found = _read_choices(config), dict[str, Any]()
    for name in names:
        with suppress(OmegaConfBaseException):
            found[name] = choices.get(name) or OmegaConf.select(config, name, throw_on_missing=True, default=_ABSENT)
    for name, value in found.items():
        if isinstance(value, Enum) and not isinstance(value, int | str):
            found[name] = value.name
    values = {name: value for name, value in found.items() if value is not _ABSENT}
    return values, {name for name in names if _is_interpolated(config, name)}


def _is_interpolated(config: DictConfig, name: str) -> bool:
    node: Any = config
    for part in name.split("."):
        if not isinstance(node, DictConfig) or part not in list(node.keys()):  # `in` alone resolves
            return False
        if OmegaConf.is_interpolation(node, part):
            return True
        node = OmegaConf.select(node, part)
    return False


def _parse(text: str) -> Constraint:
    if len(text) > LONGEST_EXPRESSION:
        shown = f"{text[:60]}..."
        raise ConfigError([Fault(shown, f"has {len(text)} characters, more than {LONGEST_EXPRESSION}", _REMEDY)])
    try:
        body = ast.parse(text.strip(), mode="eval").body
        _check_depth(body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        problem = f"not an expression: {error.msg if isinstance(error, SyntaxError) else error}"
        raise ConfigError([Fault(text, problem, _REMEDY)]) from error
    tree, called = _JoinDottedNames().visit(body), set[str]()
    for node in ast.walk(tree):
        if not isinstance(node, _SYNTAX):
            raise ConfigError([Fault(text, f"{type(node).__name__} is not allowed in a constraint", _REMEDY)])
        if isinstance(node, ast.Call):
            called.add(_check_call(text, node))
    keys = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - called
    if not keys:
        raise ConfigError([Fault(text, "names no configuration key, so it is always the same", _REMEDY)])
    return Constraint(text, tree, keys)


def _check_depth(tree: ast.AST) -> None:
    """Refuse a tree that is nested too deeply to be walked by recursion; it goes by levels."""
    level, depth = [tree], 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
        if depth > DEEPEST_EXPRESSION:
            raise ValueError(f"nested more than {DEEPEST_EXPRESSION} deep")


class _JoinDottedNames(ast.NodeTransformer):
    """Make ``model.heads`` one name instead of an attribute of ``model``: keys are looked up flat."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        if isinstance(owner, ast.Name):
            return ast.copy_location(ast.Name(f"{owner.id}.{node.attr}", ast.Load()), node)
        return node


def _check_call(text: str, node: ast.Call) -> str:
    """Return which function is called."""
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in _FUNCTIONS or node.keywords:
        raise ConfigError([Fault(text, f"{ast.unparse(node)} is not allowed in a constraint", _REMEDY)])
    return name


def _evaluate(constraint: Constraint, values: Mapping[str, Any]) -> bool:
    evaluator = EvalWithCompoundTypes(
        operators=_OPERATORS, functions=_FUNCTIONS, names={key: values[key] for key in constraint.keys}
    )
    try:
        return bool(evaluator.eval(constraint.text, previously_parsed=constraint.tree))
    except Exception as error:  # an expression may fail in any way; each is the writer's to mend
        shown = ", ".join(f"{key}={values[key]!r}" for key in sorted(constraint.keys))
        problem = f"cannot be evaluated at {shown}: {error}"
        remedy = "guard it, e.g. model.heads == 0 or ...; compare texts with texts, numbers with numbers"
        raise ConfigError([Fault(constraint.text, problem, remedy)]) from error
