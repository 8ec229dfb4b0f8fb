"""Asynchronous successive halving with promotion (ASHA), and with a maximum that grows (PASHA).

Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning. A trial runs to the first rung of a ladder and
pauses there, at a checkpoint. Whenever a worker is free, the best paused trial among the top 1/eta of its rung goes on
to the next one; where there is none, a new trial begins. A trial that is given up is pruned, its checkpoint removed.

Bohdal et al. 2023, PASHA: Efficient HPO and NAS with Progressive Resource Allocation: nothing is promoted beyond a rung
whose order of trials is the same as on the rung below it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.space.points import TARGET_KEY
from sentiment.search.study.limits import keeps_limits
from sentiment.search.study.outcome import is_paused
from sentiment.search.study.rungs import RungOrder, Scheduler, count_steps, find_costs, is_promoted, rank_rung


@dataclass(frozen=True)
class PromotionPruner(Scheduler):
    """Pauses trials at rungs: after `min_resource` reports, then after `reduction_factor` times as many, and so on.

    There is no top rung to be set: what is promoted beyond the last rung below its end runs to its end.
    """

    has_yardstick = True

    min_resource: int = 1  # reports (validations) before the first pause
    reduction_factor: int = 3  # eta: one of so many is promoted, to so many times the work
    # Trials that may wait at a time, each with its checkpoint on the disk; those beyond are pruned, the least promising
    # first.
    max_paused: int = 50
    # PASHA: at first nothing goes beyond the second rung, and further only as far as the order of trials still changes
    # from rung to rung; in the end the best goes to its end.
    growing: bool = False
    tolerance: float = 0.0  # with `growing`, trials that differ by no more are equal: two of them change no order
    _order: RungOrder = field(default_factory=RungOrder, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        are_whole = all(type(one) is int for one in (self.min_resource, self.reduction_factor, self.max_paused))
        least = ((self.min_resource, 1), (self.reduction_factor, 2), (self.max_paused, 1), (self.tolerance, 0))
        if not are_whole or any(value < lowest for value, lowest in least):
            problem = "min_resource, max_paused and reduction_factor should be whole, at least 1, 1 and 2, tolerance 0"
            raise ValueError(f"{problem}: {self}")

    def find_target(self, steps: int) -> int:
        """Return the first rung above `steps` reports."""
        return self.find_rung(steps) * self.reduction_factor or self.min_resource

    def find_rung(self, steps: int) -> int:
        """Return the last rung that a trial of `steps` reports has reached; 0: none."""
        return max(self.list_rungs(steps), default=0)

    def list_promotable(
        self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool], is_closing: bool
    ) -> Iterable[FrozenTrial]:
        """List the best paused trials of each rung, those of the highest rung first.

        In the end, a rung that no running trial can reach any more is settled: its quota is rounded up. And as long
        as no promoted trial has come to its end within the limits, the furthest and best ones do; who is known to break
        one does so only where no trial is complete. Who waits below the first rung, which was lower in an earlier
        command, goes on to it.
        """
        rungs = self._sort_paused(trials)
        yield from rungs.pop(0, ())
        ranked = {rung: self._rank(trials, paused, rung, maximize) for rung, paused in rungs.items()}
        ceiling = self.find_ceiling(trials, maximize)
        open_rungs = [rung for rung in sorted(rungs) if rung < ceiling]
        for rung in reversed(open_rungs):
            yield from ranked[rung].take(ranked[rung].count // self.reduction_factor)
        if not is_closing:
            return
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        lowest = min((int(trial.system_attrs.get(TARGET_KEY, 0)) for trial in running), default=math.inf)
        for rung in open_rungs:
            if rung < lowest:
                yield from ranked[rung].take(math.ceil(ranked[rung].count / self.reduction_factor))
        if not running and not any(map(is_promoted, trials)):
            furthest = [trial for rung in sorted(rungs, reverse=True) for trial in ranked[rung].take(len(trials))]
            yield from filter(keeps_limits, furthest)
            if all(trial.state != TrialState.COMPLETE for trial in trials):
                yield from furthest

    def list_excess(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> list[FrozenTrial]:
        """List the paused trials beyond `max_paused`: those of the lowest rung first, the worst of a rung first."""
        rungs = self._sort_paused(trials)
        excess = sum(map(len, rungs.values())) - self.max_paused
        if excess <= 0:
            return []
        least_first = list(reversed(rungs.pop(0, ())))
        for rung, waiting in sorted(rungs.items()):
            least_first += reversed(list(self._rank(trials, waiting, rung, maximize).take(len(trials))))
        return least_first[:excess]

    def _sort_paused(self, trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
        """Return the paused trials by the rung that they wait at; 0: below the first one."""
        rungs: dict[int, list[FrozenTrial]] = defaultdict(list)
        for trial in trials:
            if is_paused(trial):
                rungs[self.find_rung(count_steps(trial))].append(trial)
        return rungs

    def list_rungs(self, steps: int) -> list[int]:
        """List the rungs that a trial of so many reports has come to."""
        rungs = []
        rung = self.min_resource
        while rung <= steps:
            rungs.append(rung)
            rung *= self.reduction_factor
        return rungs

    def _rank(
        self, trials: Sequence[FrozenTrial], paused: Sequence[FrozenTrial], rung: int, maximize: Sequence[bool]
    ) -> Ranked:
        """Rank those that wait at a rung among all that have come to it."""
        if len(maximize) > 1:
            order = {number: place for place, number in enumerate(rank_rung(trials, rung, maximize))}
            return Ranked(len(order), {order[trial.number]: trial for trial in paused})
        self._order.follow(trials, self.list_rungs, maximize[0])
        return Ranked(self._order.count(rung), {self._order.locate(trial.number, rung): trial for trial in paused})

    def find_ceiling(self, trials: Sequence[FrozenTrial], maximize: Sequence[bool]) -> float:
        """Return the rung beyond which nothing is promoted for now."""
        if not self.growing:
            return math.inf
        below = self.min_resource
        ceiling = below * self.reduction_factor
        while self._is_disputed(trials, below, ceiling, maximize):
            below, ceiling = ceiling, ceiling * self.reduction_factor
        return ceiling

    def _is_disputed(self, trials: Sequence[FrozenTrial], below: int, rung: int, maximize: Sequence[bool]) -> bool:
        """Return whether two trials stand in another order on a rung than on the one below it."""
        kept = list(filter(keeps_limits, trials))  # the others stand behind them on both
        here, there = (find_costs(kept, one, maximize) for one in (rung, below))
        return any(
            min(sign * (there[one][0] - there[other][0]), sign * (here[other][0] - here[one][0])) > self.tolerance
            for one, other in combinations(here, 2)
            for sign in (1, -1)
        )


@dataclass(frozen=True)
class Ranked:
    """Those that wait at a rung, by their places among all that have come to it."""

    count: int  # how many have come to it
    waiting: Mapping[int, FrozenTrial]  # place, from 0, to who waits

    def take(self, quota: int) -> Iterator[FrozenTrial]:
        """List the waiting ones among the best `quota`, best first."""
        return (trial for place, trial in sorted(self.waiting.items()) if place < quota)
