"""Constraints that a point of the search space must satisfy, written as expressions over configuration keys."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from simpleeval import EvalWithCompoundTypes  # type: ignore[import-untyped]

from sentiment.errors import ConfigError, Fault
from sentiment.search.space.parameters import Space

Validity = Callable[[Mapping[str, Any]], bool]
"""Whether a complete point (names to values) satisfies the constraints."""

_FUNCTIONS = {"abs": abs, "min": min, "max": max, "round": round, "int": int, "float": float}
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
_REMEDY = "write e.g. model.embedding_size % model.heads == 0; texts in quotes; " + ", ".join(_FUNCTIONS) + " are known"


@dataclass(frozen=True)
class Constraint:
    """One expression, parsed.

    Attributes:
        text: The expression as written.
        tree: Its syntax tree, each dotted key made one name.
        keys: The configuration keys that it names.
    """

    text: str
    tree: ast.expr
    keys: frozenset[str]


@dataclass(frozen=True)
class Constraints:
    """Expressions that must all be true of a point; `simpleeval` evaluates them, so they cannot run code."""

    items: tuple[Constraint, ...] = ()

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Constraints:
        """Parse expressions such as ``model.embedding_size % model.heads == 0``.

        Raises:
            ConfigError: One fault for each expression that cannot be read or uses more than the syntax allows.
        """
        items: list[Constraint] = []
        faults: list[Fault] = []
        for line in lines:
            try:
                items.append(_parse(str(line)))
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError(faults)
        return cls(tuple(items))

    def names(self) -> set[str]:
        """List every configuration key that the constraints name."""
        return {key for item in self.items for key in item.keys}

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether a point satisfies every constraint.

        Args:
            values: Dotted keys to values, the swept ones and the rest of the configuration. A constraint that names
                a key which is absent (its branch is not active) counts as satisfied.

        Raises:
            ConfigError: A constraint cannot be evaluated for these values, e.g. it compares a text to a number.
        """
        return not self.broken(values)

    def broken(self, values: Mapping[str, Any]) -> list[str]:
        """List the constraints that a point breaks, as written; see `holds`."""
        return [item.text for item in self.items if item.keys <= values.keys() and not _evaluate(item, values)]


def make_validity(lines: Sequence[str], space: Space, config: DictConfig) -> Validity | None:
    """Make the test of a point.

    A constraint may name keys that are not searched: they have the value of the composed configuration. Keys inside a
    config group that is searched itself (``model.heads`` where ``model`` is drawn) are known only where the point sets
    them, since another option may not have them; a constraint on an unknown key holds.

    Args:
        lines: The constraints.
        space: The space.
        config: The composed configuration of the study.

    Returns:
        Whether a point (parameter names to values) is valid; None: there are no constraints.

    Raises:
        ConfigError: With every constraint that cannot be read.
    """
    if not lines:
        return None
    constraints = Constraints.parse(lines)
    searched = tuple(f"{parameter.key.lstrip('+')}." for parameter in space.parameters)
    fixed = {
        name: OmegaConf.select(config, name, throw_on_missing=False)
        for name in constraints.names()
        if not name.startswith(searched)
    }
    known = {name: value for name, value in fixed.items() if value is not None}
    return lambda point: constraints.holds({**known, **space.settings(point)})


def _parse(text: str) -> Constraint:
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        problem = f"not an expression: {error.msg if isinstance(error, SyntaxError) else error}"
        raise ConfigError([Fault(text, problem, _REMEDY)]) from error
    tree = _JoinDottedNames().visit(body)
    for node in ast.walk(tree):
        if not isinstance(node, _SYNTAX):
            raise ConfigError([Fault(text, f"{type(node).__name__} is not allowed in a constraint", _REMEDY)])
        if isinstance(node, ast.Call):
            _check_call(text, node)
    keys = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - _called_names(tree)
    if not keys:
        raise ConfigError([Fault(text, "names no configuration key, so it is always the same", _REMEDY)])
    return Constraint(text, tree, keys)


class _JoinDottedNames(ast.NodeTransformer):
    """Make ``model.heads`` one name instead of an attribute of ``model``: keys are looked up flat."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self.visit(node.value)
        if isinstance(owner, ast.Name):
            return ast.copy_location(ast.Name(f"{owner.id}.{node.attr}", ast.Load()), node)
        return node


def _check_call(text: str, node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in _FUNCTIONS or node.keywords:
        raise ConfigError([Fault(text, f"{ast.unparse(node)} is not allowed in a constraint", _REMEDY)])


def _called_names(tree: ast.expr) -> set[str]:
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def _evaluate(constraint: Constraint, values: Mapping[str, Any]) -> bool:
    evaluator = EvalWithCompoundTypes(functions=_FUNCTIONS, names={key: values[key] for key in constraint.keys})
    try:
        return bool(evaluator.eval(constraint.text, previously_parsed=constraint.tree))
    except Exception as error:  # an expression may fail in any way; each is the writer's to mend
        shown = ", ".join(f"{key}={values[key]!r}" for key in sorted(constraint.keys))
        problem = f"cannot be evaluated at {shown}: {error}"
        remedy = "guard it, e.g. model.heads == 0 or ...; compare texts with texts, numbers with numbers"
        raise ConfigError([Fault(constraint.text, problem, remedy)]) from error
