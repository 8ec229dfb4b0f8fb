"""Which trial is the best: the one rule by which a study, its reports and every table of a sweep order trials.

Light: neither Optuna nor numpy is imported, because a plain multirun, which has no study, is ranked by it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def rank_trials(values: Mapping[int, Sequence[float]], directions: Sequence[str]) -> tuple[list[int], set[int]]:
    """Rank trials by the first objective, equal ones by the next, and find the front of several.

    Equal ones keep the order of their numbers; a value that is NaN comes last and is never the best.

    Args:
        values: Number to objectives, of the complete trials that keep every limit.
        directions: ``minimize`` or ``maximize``, per objective.

    Returns:
        The numbers, best first, and those of the Pareto front: trials that no other dominates. With one objective,
        the best trial alone.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    costs = {
        number: tuple(sign * value for sign, value in zip(signs, own, strict=True)) for number, own in values.items()
    }
    ordered = sorted(costs, key=lambda number: (*map(_sort_key, costs[number]), number))
    sound = {number: cost for number, cost in costs.items() if not any(map(math.isnan, cost))}
    if len(signs) == 1:
        return ordered, set(ordered[:1]) & sound.keys()
    return ordered, find_front(sound)


def find_front(costs: dict[int, tuple[float, ...]]) -> set[int]:
    """Find the points that no other point dominates: is as low in every cost, and lower in one.

    Written by hand because Optuna's function is private; equal points are on the front together, as in Optuna.

    Args:
        costs: Number to costs, less is better.
    """
    front: dict[tuple[float, ...], list[int]] = {}
    for number in sorted(costs, key=lambda number: costs[number]):  # whatever dominates a point comes before it
        cost = costs[number]
        if cost in front:
            front[cost].append(number)
        elif not any(all(one <= other for one, other in zip(better, cost, strict=True)) for better in front):
            front[cost] = [number]
    return {number for numbers in front.values() for number in numbers}


def _sort_key(cost: float) -> tuple[bool, float]:
    return math.isnan(cost), 0.0 if math.isnan(cost) else cost
