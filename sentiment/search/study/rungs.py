"""Rungs, the checkpoints at which trials pause: the interface of the pruners that choose who goes on, and who is best.

Trials that have come to a rung are ranked by their objective, or by fronts of several. Those that are known to break a
limit rank behind all others, ordered by how much they are above it (Deb 2000, An efficient constraint handling method
for genetic algorithms).
"""

from __future__ import annotations

import bisect
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.space.points import TARGET_KEY
from sentiment.search.study.limits import keeps_limits, measure_breach
from sentiment.search.study.ranking import find_front

NO_RUNG = 10**9
"""Reports after which a trial pauses that runs to its end: no job makes so many."""

VALUES_KEY = "study:report:{step}"
"""System attribute of a trial: the report of a step, where there are several objectives; Optuna keeps one number."""

Costs = tuple[float, ...]
"""The objectives of a trial at a rung, less is better; NaN: it is not known before the end."""


@dataclass(frozen=True)
class Swap:
    """A trial gives its place to a copy of another, which goes on from that one's checkpoint at a changed point."""

    loser: FrozenTrial  # the paused trial that ends
    origin: FrozenTrial  # the paused trial that is copied


class Scheduler(BasePruner):
    """Chosen like a pruner, but it prunes nobody: a trial waits at its checkpoint, and is given up when others go on.

    Its methods decide from the trials as they stand, so that any number of commands agree, before and after a stop.
    """

    has_yardstick = False
    """Whether the first point that was to be tried first runs to its end in a piece: it is what others must beat."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Never end a trial."""
        return False

    @abstractmethod
    def find_target(self, steps: int) -> int:
        """Return after how many reports a trial that has made `steps` pauses next."""

    @abstractmethod
    def list_promotable(
        self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool], is_closing: bool
    ) -> Iterable[FrozenTrial]:
        """List the paused trials that may go on now, in order of preference.

        Args:
            trials: The study's trials.
            maximize: For every objective, whether more is better.
            is_closing: No further trial will begin.
        """

    def list_excess(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> list[FrozenTrial]:
        """List the paused trials that are given up now."""
        return []

    def find_swap(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> Swap | None:
        """Find a paused trial that is to give its place to a copy of a better one."""
        return None


def is_promoted(trial: FrozenTrial) -> bool:
    """Return whether a trial has come to its end up the ladder, within the limits.

    What is tried first runs to its end in any case; what took over a result, or has no rungs, does not report.
    """
    is_on_ladder = TARGET_KEY in trial.system_attrs and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE and is_on_ladder and keeps_limits(trial)


def count_steps(trial: FrozenTrial) -> int:
    """Return how many reports a trial has made."""
    return 0 if trial.last_step is None else trial.last_step + 1


def rank_rung(trials: Sequence[FrozenTrial], rung: int, maximize: Sequence[bool]) -> list[int]:
    """Rank the trials that have come to a rung, best first; equal ones by number.

    Args:
        trials: The study's trials.
        rung: Reports at the rung.
        maximize: For every objective, whether more is better.
    """
    costs = find_costs(trials, rung, maximize)
    breaches = {trial.number: measure_breach(trial) for trial in trials}
    if len(maximize) > 1:
        fronts = _rank_fronts({number: cost for number, cost in costs.items() if not breaches[number]})
        costs = {**dict.fromkeys(costs, (0.0,)), **{number: (float(place),) for place, number in enumerate(fronts)}}
    return sorted(costs, key=lambda number: (breaches[number], costs[number], number))


class RungOrder:
    """Where trials stood at each rung, of one objective; followed as they come, not ranked anew for every question.

    It is no part of what a pruner is: a copy in another process begins empty.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[FrozenTrial, dict[int, Costs]]] = {}
        self._orders: dict[int, list[tuple[Costs, int]]] = {}  # by rung, best first
        self._maximize: bool | None = None

    def __reduce__(self) -> tuple[type[RungOrder], tuple[()]]:
        return RungOrder, ()

    def follow(self, trials: Sequence[FrozenTrial], list_rungs: Callable[[int], list[int]], maximize: bool) -> None:
        """Take the trials as they are now.

        Args:
            trials: The study's trials.
            list_rungs: Returns the rungs that a trial of so many reports has come to.
            maximize: Whether more is better.
        """
        if maximize != self._maximize:
            self._known, self._orders, self._maximize = {}, {}, maximize
        for trial in trials:
            known = self._known.get(trial.number)
            if known is None or known[0] is not trial:
                reached = [] if trial.state == TrialState.FAIL else list_rungs(count_steps(trial))
                breach = measure_breach(trial)
                costs = {rung: (breach, *_find_costs(trial, rung, (maximize,))) for rung in reached}
                self._put(trial.number, costs)
                self._known[trial.number] = trial, costs
        if len(self._known) > len(trials):  # some points were tried again
            for number in self._known.keys() - {trial.number for trial in trials}:
                self._put(number, {})
                del self._known[number]

    def _put(self, number: int, costs: Mapping[int, Costs]) -> None:
        before = self._known[number][1] if number in self._known else {}
        for rung, cost in before.items() - costs.items():
            self._orders[rung].remove((cost, number))
        for rung, cost in costs.items() - before.items():
            bisect.insort(self._orders.setdefault(rung, []), (cost, number))

    def count(self, rung: int) -> int:
        """Count the trials that have come to a rung."""
        return len(self._orders.get(rung, ()))

    def locate(self, number: int, rung: int) -> int:
        """Return how many trials stood better at a rung than one that has come to it."""
        return bisect.bisect_left(self._orders[rung], (self._known[number][1][rung], number))


def find_costs(trials: Sequence[FrozenTrial], rung: int, maximize: Sequence[bool]) -> dict[int, Costs]:
    """Find what the trials that have come to a rung stood at there, by number."""
    there = [trial for trial in trials if count_steps(trial) >= rung and trial.state != TrialState.FAIL]
    return {trial.number: _find_costs(trial, rung, maximize) for trial in there}


def find_stand(trial: FrozenTrial, maximize: Sequence[bool]) -> Costs:
    """Return what a trial stands at by all its reports, as it is compared.

    Of one objective the best report, of several the last; NaN where no report is a number.
    """
    if all(map(math.isnan, trial.intermediate_values.values())):
        return (math.nan,) * len(maximize)
    costs = _find_costs(trial, count_steps(trial), maximize)
    return tuple(-cost if up else cost for cost, up in zip(costs, maximize, strict=True))


def _find_costs(trial: FrozenTrial, rung: int, maximize: Sequence[bool]) -> Costs:
    """Return the best report up to a rung, as its checkpoint would be selected; of several objectives the last one."""
    signs = [-1.0 if up else 1.0 for up in maximize]
    reports: Mapping[int, float] = trial.intermediate_values
    if len(signs) == 1:
        known = [signs[0] * value for step, value in reports.items() if step < rung and not math.isnan(value)]
        return (min(known, default=math.inf),)
    last = max((step for step in reports if step < rung), default=None)
    values = [math.nan] * len(signs) if last is None else trial.system_attrs[VALUES_KEY.format(step=last)]
    return tuple(sign * value for sign, value in zip(signs, values, strict=True))


def _rank_fronts(costs: Mapping[int, Costs]) -> list[int]:
    """Rank by non-dominated sorting, then by crowding distance (Deb et al. 2002, NSGA-II).

    What is known of no trial, as it comes at the end only, does not count. Who lacks what others have, or has it
    infinite, as one that diverged, is worse than the worst of them. By hand because Optuna's functions are private.
    """
    columns = []
    for column in zip(*costs.values(), strict=True):
        if known := list(filter(math.isfinite, column)):
            worst = math.nextafter(max(known), math.inf)
            columns.append([cost if math.isfinite(cost) else worst for cost in column])
    left: dict[int, Costs] = dict.fromkeys(costs, ())
    if columns:
        left = dict(zip(costs, zip(*columns, strict=True), strict=True))
    ranked: list[int] = []
    while left:
        front = {number: left.pop(number) for number in find_front(left)}
        gaps = _measure_crowding(front)
        ranked += sorted(front, key=lambda number: (-gaps[number], number))
    return ranked


def _measure_crowding(front: Mapping[int, Costs]) -> dict[int, float]:
    """Return how far apart the neighbours of each trial of a front are, in shares of its extent; its ends: infinity."""
    gaps = dict.fromkeys(front, 0.0)
    for objective in range(len(next(iter(front.values())))):
        ordered = sorted(front, key=lambda number: (front[number][objective], number))
        values = [front[number][objective] for number in ordered]
        extent = values[-1] - values[0]
        for number in (ordered[0], ordered[-1]):
            gaps[number] = math.inf
        for number, below, above in zip(ordered[1:-1], values, values[2:], strict=False):
            gaps[number] += (above - below) / extent if extent else 0.0
    return gaps
