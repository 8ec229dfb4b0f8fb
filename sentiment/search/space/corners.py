"""The corners of a search space: the extreme points to compose and validate before the first trial."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sentiment.search.space.constraints import Validity
from sentiment.search.space.grid import list_values
from sentiment.search.space.parameters import Parameter, Point, Space

Setting = tuple[str, int]
"""A parameter's name and the position of a value among its extreme ones (values may be 1 and True, which are equal)."""

MOST_CHECKED = 1_000
"""Points of a grid that are all checked before the first one runs; it takes some milliseconds each."""

MOST_CORNERS = 400
"""The largest product of extreme values that is listed in full."""

_COMPLETIONS = 200
"""Random completions tried for a pair of values before it is taken to have no valid point."""


def list_corners(space: Space, *, is_valid: Validity) -> list[Point]:
    """List corners: both ends of each range and interval and every category, branches included.

    Up to `MOST_CORNERS` are the full product. Beyond that a product grows exponentially, while nearly all faults of a
    configuration come from one value or from two that do not fit together: so then each value, and each pair of values
    that can meet, stands in at least one corner (a greedy pairwise cover), in as few corners as it finds. The same
    space gives the same corners.

    Args:
        space: The space.
        is_valid: Tells whether a complete point satisfies the constraints. Corners that do not are left out, and so
            are pairs of values for which no valid point is found in 200 tries.
    """
    points = list(itertools.islice(space.list_points(extreme_values), MOST_CORNERS + 1))
    return list(filter(is_valid, points)) if len(points) <= MOST_CORNERS else _PairwiseCover(space, is_valid).build()


def list_checked(space: Space, *, is_valid: Validity, is_grid: bool) -> list[Point]:
    """List the points at which a search is checked: its corners; of a grid every point, unless there are very many.

    Args:
        space: The space.
        is_valid: Tells whether a complete point satisfies the constraints.
        is_grid: Whether every point is to run.
    """
    if is_grid and (space.count_points() or math.inf) <= MOST_CHECKED:
        return [point for point in space.list_points(list_values) if is_valid(point)]
    return list_corners(space, is_valid=is_valid)


def extreme_values(distribution: BaseDistribution) -> list[Any]:
    """List both ends of a range or interval, or every category."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return [distribution.low] if distribution.single() else [distribution.low, distribution.high]


class _PairwiseCover:
    """Greedy: take the first pair not covered yet, and complete it with the values that cover most others."""

    def __init__(self, space: Space, is_valid: Validity) -> None:
        self.space = space
        self.is_valid = is_valid
        self.values = {item.name: extreme_values(item.distribution) for item in space.parameters}
        self.generator = random.Random(0)
        self.uncovered = self._list_pairs()

    def build(self) -> list[Point]:
        points = []
        while self.uncovered:
            pair = next(iter(self.uncovered))
            positions = self._find_valid(dict(pair))
            if positions is None:
                del self.uncovered[pair]
                continue
            points.append(self._to_point(positions))
            for one, other in itertools.combinations_with_replacement(positions.items(), 2):
                self.uncovered.pop(_pair(one, other), None)
        return points

    def _list_pairs(self) -> dict[tuple[Setting, Setting], None]:
        """List what is to cover, in a fixed order: a value with itself stands for the value alone."""
        pairs: dict[tuple[Setting, Setting], None] = {}
        for one, other in itertools.combinations_with_replacement(self.space.parameters, 2):
            for first in range(len(self.values[one.name])):
                for second in range(len(self.values[other.name])):
                    settings = {one.name: first, other.name: second}
                    if self._imply([one, other], settings) and (one.name != other.name or first == second):
                        pairs[_pair((one.name, settings[one.name]), (other.name, settings[other.name]))] = None
        return pairs

    def _imply(self, parameters: list[Parameter], positions: dict[str, int]) -> bool:
        """Set what the conditions of `parameters` demand in `positions`; False where they cannot hold together."""
        for condition in [parameter.condition for parameter in parameters if parameter.condition]:
            name, text = condition
            position = [str(value) for value in self.values[name]].index(text)
            if positions.setdefault(name, position) != position:
                return False
        return True

    def _find_valid(self, wanted: dict[str, int]) -> dict[str, int] | None:
        for variant in self._variants(wanted):
            for attempt in range(_COMPLETIONS):
                positions = self._complete(dict(variant), greedy=attempt == 0)
                if self.is_valid(self._to_point(positions)):
                    return positions
        return None

    def _variants(self, wanted: dict[str, int]) -> Iterator[dict[str, int]]:
        """Return the ways to open the branches of the wanted parameters: one name may stand in several branches."""
        homes = [[item for item in self.space.parameters if item.name == name] for name in wanted]
        for parameters in itertools.product(*homes):
            positions = dict(wanted)
            if self._imply(list(parameters), positions):
                yield positions

    def _complete(self, positions: dict[str, int], *, greedy: bool) -> dict[str, int]:
        for is_branch in (False, True):
            for parameter in self.space.active(self._to_point(positions)):
                if parameter.name in positions or (parameter.condition is not None) != is_branch:
                    continue
                candidates = range(len(self.values[parameter.name]))
                if greedy:
                    positions[parameter.name] = max(candidates, key=lambda one: self._gain(positions, parameter, one))
                else:
                    positions[parameter.name] = self.generator.choice(candidates)
        return positions

    def _gain(self, positions: Mapping[str, int], parameter: Parameter, position: int) -> int:
        setting = (parameter.name, position)
        return sum(_pair(setting, other) in self.uncovered for other in [*positions.items(), setting])

    def _to_point(self, positions: Mapping[str, int]) -> Point:
        return {name: self.values[name][position] for name, position in positions.items()}


def _pair(one: Setting, other: Setting) -> tuple[Setting, Setting]:
    return (one, other) if one <= other else (other, one)
