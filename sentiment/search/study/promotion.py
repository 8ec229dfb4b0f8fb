"""Asynchronous successive halving with promotion (ASHA).

Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning. A trial runs to the first rung of a ladder and
pauses there, at a checkpoint. Whenever a worker is free, the best paused trial among the top 1/eta of its rung goes on
to the next one; where there is none, a new trial begins. A trial that is given up is pruned, its checkpoint removed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.space.points import TARGET_KEY
from sentiment.search.study.outcome import is_paused


@dataclass(frozen=True)
class PromotionPruner(BasePruner):
    """Pauses trials at rungs: after `min_resource` reports, then after `reduction_factor` times as many, and so on.

    There is no top rung to be set: what is promoted beyond the last rung below its end runs to its end.

    Attributes:
        min_resource: Reports (validations) before the first pause.
        reduction_factor: Eta: one of so many is promoted, to so many times the work.
        max_paused: Trials that may wait at a time, each with its checkpoint on the disk; those beyond are pruned, the
            least promising first.
    """

    min_resource: int = 1
    reduction_factor: int = 3
    max_paused: int = 50

    def __post_init__(self) -> None:
        if self.min_resource < 1 or self.reduction_factor < 2 or self.max_paused < 1:
            raise ValueError(f"min_resource and max_paused should be at least 1, reduction_factor 2: {self}")

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Never end a trial: it is paused at its checkpoint, and given up when others are better."""
        return False

    def find_target(self, steps: int) -> int:
        """Return the first rung above `steps` reports."""
        rung = self.min_resource
        while rung <= steps:
            rung *= self.reduction_factor
        return rung

    def list_rungs(self, steps: int) -> list[int]:
        """Return the rungs that a trial of `steps` reports has reached, ascending."""
        rungs = [self.min_resource]
        while rungs[-1] * self.reduction_factor <= steps:
            rungs.append(rungs[-1] * self.reduction_factor)
        return rungs if self.min_resource <= steps else []


def count_steps(trial: FrozenTrial) -> int:
    """Return how many reports a trial has made."""
    return 0 if trial.last_step is None else trial.last_step + 1


def list_promotable(
    trials: Sequence[FrozenTrial], pruner: PromotionPruner, *, maximize: bool, is_closing: bool
) -> Iterator[FrozenTrial]:
    """List the paused trials that may go on now, in order of preference.

    Args:
        trials: The study's trials.
        pruner: The ladder.
        maximize: Whether more is better.
        is_closing: No further trial will begin. Then a rung that no running trial can reach any more is settled: its
            quota is rounded up. And as long as no trial has come to its end, the furthest and best ones do.
    """
    rungs: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        if is_paused(trial):
            rungs[pruner.list_rungs(count_steps(trial))[-1]].append(trial)
    ranked = {rung: rank_rung(trials, rung, maximize) for rung in rungs}
    descending = sorted(rungs, reverse=True)
    for rung in descending:
        yield from _take(rungs[rung], ranked[rung], len(ranked[rung]) // pruner.reduction_factor)
    if not is_closing:
        return
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    lowest = min((int(trial.system_attrs.get(TARGET_KEY, 0)) for trial in running), default=math.inf)
    for rung in sorted(rungs):
        if rung < lowest:
            yield from _take(rungs[rung], ranked[rung], math.ceil(len(ranked[rung]) / pruner.reduction_factor))
    if not running and not any(trial.state == TrialState.COMPLETE for trial in trials):
        for rung in descending:
            yield from _take(rungs[rung], ranked[rung], len(ranked[rung]))


def _take(paused: Sequence[FrozenTrial], ranked: Sequence[int], quota: int) -> Iterator[FrozenTrial]:
    """List the paused ones among the best `quota`, best first."""
    waiting = {trial.number: trial for trial in paused}
    return (waiting[number] for number in ranked[:quota] if number in waiting)


def list_excess(trials: Sequence[FrozenTrial], pruner: PromotionPruner, *, maximize: bool) -> list[FrozenTrial]:
    """List the paused trials beyond `max_paused`: those of the lowest rung first, the worst of a rung first."""
    paused = [trial for trial in trials if is_paused(trial)]

    def rate(trial: FrozenTrial) -> tuple[int, float]:
        rung = pruner.list_rungs(count_steps(trial))[-1]
        value = find_value(trial.intermediate_values, rung, maximize)
        return rung, value if maximize else -value

    return sorted(paused, key=rate)[: max(0, len(paused) - pruner.max_paused)]


def rank_rung(trials: Sequence[FrozenTrial], rung: int, maximize: bool) -> list[int]:
    """Rank the trials that have come to a rung by their best report up to it, best first; equal ones by number."""
    values = {
        trial.number: find_value(trial.intermediate_values, rung, maximize)
        for trial in trials
        if count_steps(trial) >= rung and trial.state != TrialState.FAIL
    }
    sign = -1.0 if maximize else 1.0
    return sorted(values, key=lambda number: (sign * values[number], number))


def find_value(reports: Mapping[int, float], rung: int, maximize: bool) -> float:
    """Return the best of the first `rung` reports: the value of the checkpoint that would be selected there."""
    known = [value for step, value in reports.items() if step < rung and not math.isnan(value)]
    worst = -math.inf if maximize else math.inf
    return (max if maximize else min)(known, default=worst)
