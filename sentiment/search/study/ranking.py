"""Which trial is the best: the one rule by which a study, its reports and every table of a sweep order trials.

Light: neither Optuna nor numpy is imported, because a plain multirun, which has no study, is ranked by it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A trial that is to be ranked.

    Attributes:
        number: Its number.
        values: Its objectives, in the order of the study's; empty without a result.
        is_eligible: It is complete and keeps every limit.
    """

    number: int
    values: tuple[float, ...]
    is_eligible: bool


@dataclass(frozen=True)
class Ranking:
    """The order of trials.

    Attributes:
        numbers: Eligible trials, best first: the position in it, from 1, is a trial's rank.
        front: Trials of the Pareto front, by number: those that no other dominates. With one objective,
            the best trial alone.
    """

    numbers: tuple[int, ...]
    front: tuple[int, ...]


def rank_trials(candidates: Sequence[Candidate], directions: Sequence[str]) -> Ranking:
    """Rank trials by the first objective, equal ones by the next, and find the front of several.

    Only complete trials that keep every limit take part. Equal ones keep the order of their numbers; a value that is
    NaN comes last and is never the best.

    Args:
        candidates: The trials.
        directions: ``minimize`` or ``maximize``, per objective.
    """
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    costs = {
        one.number: tuple(sign * value for sign, value in zip(signs, one.values, strict=True))
        for one in candidates
        if one.is_eligible and one.values
    }
    ordered = sorted(costs, key=lambda number: (*map(_sort_key, costs[number]), number))
    sound = {number: cost for number, cost in costs.items() if not any(map(math.isnan, cost))}
    if len(signs) == 1:
        return Ranking(tuple(ordered), tuple(number for number in ordered[:1] if number in sound))
    front = find_front(sound)
    return Ranking(tuple(ordered), tuple(sorted(front)))


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
