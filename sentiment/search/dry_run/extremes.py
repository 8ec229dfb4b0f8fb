"""The smallest and the largest configuration of a search, in each of its branches: what a probe measures."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sentiment.search.space.parameters import Parameter, Space

Point = dict[str, Any]

TRIED = 10_000
"""Points that are tried where the extreme one breaks a constraint."""


@dataclass(frozen=True)
class Extreme:
    """One configuration to measure.

    Attributes:
        label: What it is: smallest or largest, and of which branch.
        point: Parameter names to values.
    """

    label: str
    point: Point


def list_extremes(space: Space, is_valid: Callable[[Point], bool] | None = None) -> list[Extreme]:
    """List the smallest and the largest valid point of every branch.

    Small is the low end of a range, the least of a choice among numbers, the first of any other choice. Where that
    point breaks a constraint, the valid one next to it stands for it.
    """
    extremes: list[Extreme] = []
    for branch in _list_branches(space):
        name = ", ".join(f"{key}={value}" for key, value in branch.items())
        for label, is_large in (("smallest", False), ("largest", True)):
            point = _find(space, branch, is_large, is_valid)
            if point is not None and all(point != other.point for other in extremes):
                extremes.append(Extreme(f"{label} {name}".strip(), point))
    return extremes


def _list_branches(space: Space) -> Iterator[Point]:
    conditions = {parameter.condition[0] for parameter in space.parameters if parameter.condition is not None}
    parents = [item for item in space.parameters if item.condition is None and item.name in conditions]
    for values in itertools.product(*(_rank_values(parent.distribution, False) for parent in parents)):
        yield {parent.name: value for parent, value in zip(parents, values, strict=True)}


def _find(space: Space, branch: Point, is_large: bool, is_valid: Callable[[Point], bool] | None) -> Point | None:
    active = space.active(branch)
    ranked = [_rank(parameter, branch, is_large) for parameter in active]
    for places in itertools.islice(_near_first([len(values) for values in ranked]), TRIED):
        point = {item.name: values[place] for item, values, place in zip(active, ranked, places, strict=True)}
        if is_valid is None or is_valid(point):
            return point
    return None


def _rank(parameter: Parameter, branch: Point, is_large: bool) -> list[Any]:
    return [branch[parameter.name]] if parameter.name in branch else _rank_values(parameter.distribution, is_large)


def _rank_values(distribution: BaseDistribution, is_large: bool) -> list[Any]:
    """List the values of a parameter, the wanted one first; of a range three."""
    if isinstance(distribution, CategoricalDistribution):
        values: list[Any] = list(distribution.choices)
        if all(isinstance(value, int | float) for value in values):
            values.sort()
    else:
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        low, high = distribution.low, distribution.high
        middle: float = (low + high) / 2
        if isinstance(distribution, IntDistribution):
            middle = low + (high - low) // distribution.step // 2 * distribution.step
        values = sorted({low, middle, high})
    return values[::-1] if is_large else values


def _near_first(lengths: list[int]) -> Iterator[tuple[int, ...]]:
    """Give all tuples of places, those with the least sum first: the fewest steps from what is wanted."""
    for total in range(sum(length - 1 for length in lengths) + 1):
        yield from _places(lengths, total)


def _places(lengths: list[int], total: int) -> Iterator[tuple[int, ...]]:
    if not lengths:
        if total == 0:
            yield ()
        return
    rest = sum(length - 1 for length in lengths[1:])
    for place in range(max(0, total - rest), min(lengths[0] - 1, total) + 1):
        for others in _places(lengths[1:], total - place):
            yield (place, *others)
